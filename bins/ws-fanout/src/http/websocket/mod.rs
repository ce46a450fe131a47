//! A WebSocket, from the accepted upgrade until the socket is closed.

mod client_frames;
mod frame_rate;
mod opening;
mod session;

use std::rc::Rc;

use mayfly_http::UpgradedSocket;
use tokio::task::JoinHandle;

pub(super) use self::opening::{HeaderCredentials, Opening};
use self::session::WebSocketSession;
use crate::{
    frames::Encoding,
    hub::ConnectionPermit,
    resume,
    worker::{Sink, WorkerContext},
};

/// Serves a WebSocket until it is closed. If the query is invalid or the credentials are refused,
/// closes the WebSocket with a close code, because scripts can read a close code but not the
/// response to a rejected upgrade.
pub(super) async fn serve_websocket(
    context: Rc<WorkerContext>,
    upgraded: UpgradedSocket,
    opening: Opening,
    mut permit: ConnectionPermit,
) {
    let socket = Rc::new(upgraded.socket);
    let sink = Sink::Socket(Rc::clone(&socket));
    let Opening { query, header, address, slot } = opening;
    let (slot, denial) = match slot {
        Ok(slot) => (Some(slot), None),
        Err(denial) => (None, Some(denial)),
    };
    let key = context.worker.borrow_mut().register(sink, Encoding::WebSocket, slot);
    let mut registration = Registration { context: Rc::clone(&context), key, resume_task: None };
    let mut session = WebSocketSession::new(context, key, socket, upgraded.received, address);
    match (query, denial) {
        (Err(close), _) => session.close(&close),
        (Ok(_), Some(denial)) => session.close(&denial.into()),
        (Ok(query), None) => {
            // The future is boxed so that its memory is freed when it completes.
            if let Some(opened) = Box::pin(session.open(query, header)).await {
                permit.mark_authenticated();
                registration.start(opened.since);
            }
        }
    }
    session.wait_for_hello().await;
    session.decode_received();
    session.run().await;
    drop(registration);
    session.shut_down().await;
}

/// The registration of a connection with its worker, removed on drop.
struct Registration {
    context: Rc<WorkerContext>,
    key: usize,
    /// The task that sends `hello` and the replay.
    resume_task: Option<JoinHandle<()>>,
}

impl Registration {
    /// Starts the task that sends `hello` and the replay.
    fn start(&mut self, since: Option<String>) {
        self.resume_task = Some(resume::start(&self.context, self.key, since));
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(resume_task) = &self.resume_task {
            resume_task.abort();
        }
        self.context.worker.borrow_mut().remove(self.key);
    }
}
