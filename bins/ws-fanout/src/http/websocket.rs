//! The session of one WebSocket, from the accepted handshake until the socket is closed.

use std::{future::poll_fn, io::ErrorKind, net::Shutdown, rc::Rc, task::Poll};

use actix_web::rt::net::TcpStream;
use mayfly_core::frame::ServerFrame;
use mayfly_http::UpgradedSocket;
use serde::Deserialize;
use socket2::SockRef;
use tokio::{io::AsyncWriteExt, task::JoinHandle};

use super::query::{LiveQuery, QueryError};
use crate::{
    frames::{Encoding, encode_json},
    hub::ConnectionPermit,
    resume,
    subscription::{Subscription, SubscriptionError, SubscriptionRequest},
    websocket::{Close, Decoder, Incoming, encode_close_reply, encode_pong},
    worker::{GroupKey, Sink, Stage, Worker, WorkerContext},
};

/// Serves a WebSocket until it is closed. An invalid query closes it with a code, because scripts
/// can read a close code but not the response to a rejected upgrade.
pub(super) async fn serve_websocket(
    context: Rc<WorkerContext>,
    upgraded: UpgradedSocket,
    query: Result<LiveQuery, QueryError>,
    _permit: ConnectionPermit,
) {
    let socket = Rc::new(upgraded.socket);
    let (query, rejection) = match query {
        Ok(query) => (query, None),
        Err(error) => {
            let subscription = Subscription::try_from(SubscriptionRequest::default());
            let subscription = subscription.expect("invariant: the default subscription is valid");
            (LiveQuery { subscription, since: None }, Some(Close::from(error)))
        }
    };
    let group_key = GroupKey { encoding: Encoding::WebSocket, subscription: query.subscription };
    let sink = Sink::Socket(Rc::clone(&socket));
    let key = context.worker.borrow_mut().register(sink, group_key);
    let resume_task = match rejection {
        Some(close) => {
            let mut worker = context.worker.borrow_mut();
            worker.close(key, &close);
            worker.flush();
            None
        }
        None => Some(resume::start(&context, key, query.since)),
    };
    let registration = Registration { context: Rc::clone(&context), key, resume_task };
    let decoder = Decoder::default();
    let mut session = WebSocketSession { context: Rc::clone(&context), key, socket, decoder };
    session.wait_for_hello().await;
    session.process_bytes(&upgraded.received);
    drop(upgraded.received);
    session.run().await;
    drop(registration);
    session.shut_down().await;
}

struct WebSocketSession {
    context: Rc<WorkerContext>,
    key: usize,
    socket: Rc<TcpStream>,
    decoder: Decoder,
}

/// The readiness that a session waits for.
enum Readiness {
    Readable,
    Writable,
    Closed,
}

impl WebSocketSession {
    /// Waits until `hello` is queued. Client frames are not read before.
    async fn wait_for_hello(&self) {
        poll_fn(|cx| {
            let mut worker = self.context.worker.borrow_mut();
            let connection = &mut worker.connections[self.key];
            connection.register_task(cx);
            if connection.stage == Stage::Starting { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    async fn run(&mut self) {
        loop {
            match self.wait_for_readiness().await {
                Readiness::Readable => {
                    self.read();
                    tokio::task::yield_now().await;
                }
                Readiness::Writable => {
                    self.context.worker.borrow_mut().flush_connection(self.key);
                }
                Readiness::Closed => return,
            }
        }
    }

    async fn wait_for_readiness(&self) -> Readiness {
        poll_fn(|cx| {
            let mut worker = self.context.worker.borrow_mut();
            let connection = &mut worker.connections[self.key];
            if connection.stage == Stage::Closed {
                return Poll::Ready(Readiness::Closed);
            }
            connection.register_task(cx);
            if connection.is_blocked && self.socket.poll_write_ready(cx).is_ready() {
                return Poll::Ready(Readiness::Writable);
            }
            if self.socket.poll_read_ready(cx).is_ready() {
                return Poll::Ready(Readiness::Readable);
            }
            Poll::Pending
        })
        .await
    }

    /// Reads once, so that one client cannot monopolize the worker.
    fn read(&mut self) {
        let context = Rc::clone(&self.context);
        let mut buffer = context.read_buffer.borrow_mut();
        match self.socket.try_read(&mut buffer) {
            Ok(bytes @ 1..) => self.process_bytes(&buffer[..bytes]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => context.worker.borrow_mut().connections[self.key].mark_closed(),
        }
    }

    /// Decodes bytes of the client and handles the complete frames.
    fn process_bytes(&mut self, bytes: &[u8]) {
        let key = self.key;
        let mut worker = self.context.worker.borrow_mut();
        let decoded = if worker.connections[key].is_open() {
            self.decoder.decode(bytes, |incoming| {
                handle_incoming(&mut worker, key, incoming);
                worker.connections[key].is_open()
            })
        } else if contains_close(&mut self.decoder, bytes) {
            let connection = &mut worker.connections[key];
            connection.is_close_handshake_done = true;
            connection.flush();
            Ok(())
        } else {
            Ok(())
        };
        let is_protocol_error = decoded.is_err();
        if let Err(close) = decoded {
            worker.close(key, &close);
        }
        worker.flush();
        if is_protocol_error && worker.connections[key].send_queue.is_empty() {
            // After a protocol error nothing is decoded, not even the client's Close frame. The
            // client ends the connection by closing its side of the socket.
            let _ = SockRef::from(&*self.socket).shutdown(Shutdown::Write);
        }
    }

    /// Shuts the socket down in order, so that the client receives all written bytes and no reset.
    async fn shut_down(self) {
        if let Ok(mut socket) = Rc::try_unwrap(self.socket) {
            let _ = socket.shutdown().await;
        }
    }
}

/// Returns whether the bytes contain a Close frame. All other frames are ignored while closing.
fn contains_close(decoder: &mut Decoder, bytes: &[u8]) -> bool {
    let mut found = false;
    let result = decoder.decode(bytes, |incoming| {
        found |= matches!(incoming, Incoming::Close(_));
        !found
    });
    found || result.is_err()
}

/// The registration of a connection with its worker, removed on drop.
struct Registration {
    context: Rc<WorkerContext>,
    key: usize,
    /// Sends `hello` and the replay.
    resume_task: Option<JoinHandle<()>>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(resume_task) = &self.resume_task {
            resume_task.abort();
        }
        self.context.worker.borrow_mut().remove(self.key);
    }
}

fn handle_incoming(worker: &mut Worker, key: usize, incoming: Incoming) {
    match incoming {
        Incoming::Text(text) => handle_client_frame(worker, key, &text),
        Incoming::Ping(payload) => worker.send_reply(key, encode_pong(&payload)),
        Incoming::Pong => worker.connections[key].pong_deadline = None,
        Incoming::Close(code) => worker.close_by_client(key, code, encode_close_reply(code)),
    }
}

/// A frame from a client.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum ClientFrame {
    Subscribe(SubscriptionRequest),
    Unsubscribe(SubscriptionRequest),
    Ping {},
}

fn handle_client_frame(worker: &mut Worker, key: usize, text: &str) {
    let frame = match serde_json::from_str::<ClientFrame>(text) {
        Ok(frame) => frame,
        Err(error) => {
            let code = if error.is_data() { "invalid_field" } else { "invalid_json" };
            return reply(worker, key, &ServerFrame::Error { code, message: error.to_string() });
        }
    };
    let mut subscription = worker.connections[key].group_key.subscription.clone();
    let (changed, is_subscribe) = match frame {
        ClientFrame::Ping {} => return reply(worker, key, &ServerFrame::Pong),
        ClientFrame::Subscribe(request) => (subscription.subscribe(request), true),
        ClientFrame::Unsubscribe(request) => (subscription.unsubscribe(request), false),
    };
    if let Err(error) = changed {
        let code = match error {
            SubscriptionError::InvalidField { .. } => "invalid_field",
            SubscriptionError::TooMany(_) => "too_many_channels",
        };
        return reply(worker, key, &ServerFrame::Error { code, message: error.to_string() });
    }
    let set = subscription.to_set();
    if subscription != worker.connections[key].group_key.subscription {
        worker.change_group(key, GroupKey { encoding: Encoding::WebSocket, subscription });
    }
    let frame =
        if is_subscribe { ServerFrame::Subscribed(set) } else { ServerFrame::Unsubscribed(set) };
    reply(worker, key, &frame);
    // A new subscriber of a state feed receives the last frame immediately.
    worker.flush_pending(key);
}

fn reply(worker: &mut Worker, key: usize, frame: &ServerFrame<'_>) {
    let mut bytes = Vec::new();
    encode_json(&mut bytes, Encoding::WebSocket, None, &frame.to_json());
    worker.send_reply(key, bytes.into());
}
