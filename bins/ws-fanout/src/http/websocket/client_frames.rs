//! The client frames that follow the start of a connection.

use mayfly_core::frame::ServerFrame;

use crate::{
    frames::{Encoding, encode_json},
    http::client_frame::{ClientFrame, FrameError},
    worker::Worker,
};

/// Handles a client frame of an open connection and queues the reply.
pub(super) fn handle_client_frame(worker: &mut Worker, key: usize, text: &str) {
    if let Err(FrameError { code, message }) = try_handle_client_frame(worker, key, text) {
        reply(worker, key, &ServerFrame::Error { code, message });
    }
}

fn try_handle_client_frame(worker: &mut Worker, key: usize, text: &str) -> Result<(), FrameError> {
    let mut subscription = worker.connections[key].group_key.subscription.clone();
    let is_subscribe = match ClientFrame::parse(text)? {
        ClientFrame::Ping {} => {
            reply(worker, key, &ServerFrame::Pong);
            return Ok(());
        }
        ClientFrame::Connect(_) => {
            let message = "type must not be connect: the connection has started; to start a \
                           connection with a connect frame, add connect=frame to the query";
            return Err(FrameError { code: "invalid_field", message: message.to_owned() });
        }
        ClientFrame::Subscribe(request) => {
            subscription.subscribe(request)?;
            true
        }
        ClientFrame::Unsubscribe(request) => {
            subscription.unsubscribe(request)?;
            false
        }
    };
    let set = subscription.to_set();
    if subscription != worker.connections[key].group_key.subscription {
        worker.change_subscription(key, subscription);
    }
    let frame =
        if is_subscribe { ServerFrame::Subscribed(set) } else { ServerFrame::Unsubscribed(set) };
    reply(worker, key, &frame);
    // Send the newest frames of newly subscribed state feeds and newly watched hosts immediately.
    worker.flush_pending(key);
    Ok(())
}

/// Queues a frame as a reply to a client frame.
pub(super) fn reply(worker: &mut Worker, key: usize, frame: &ServerFrame<'_>) {
    let mut bytes = Vec::new();
    encode_json(&mut bytes, Encoding::WebSocket, None, &frame.to_json());
    worker.send_reply(key, bytes);
}
