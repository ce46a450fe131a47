//! Handles the frames of a client.

use std::rc::Rc;

use mayfly_core::frame::ServerFrame;

use super::{opening::FirstFrame, session::Phase};
use crate::{
    frames::{Encoding, encode_json},
    http::client_frame::{AuthRequest, ClientFrame, ConnectRequest, FrameError, Start},
    websocket::{Close, CloseCode, Incoming, MESSAGE_BYTES_MAX, encode_close_reply, encode_pong},
    worker::Worker,
};

/// Handles a message or a control frame. A frame with credentials changes the phase of the session,
/// which must decode nothing else until it has authenticated the client.
pub(super) fn handle_incoming(
    worker: &mut Worker,
    key: usize,
    incoming: Incoming,
    phase: &mut Phase,
) {
    match incoming {
        Incoming::Text(text) => match std::mem::take(phase) {
            Phase::AwaitsFirstFrame { defaults, .. } => match parse_first(&text, defaults) {
                Ok(frame) => {
                    *phase = Phase::HasFirstFrame { frame: Box::new(frame), bytes: text.len() };
                }
                Err(error) => {
                    let code = match error.code {
                        "too_many_channels" => CloseCode::TooManyChannels,
                        _ => CloseCode::BadRequest,
                    };
                    reject_first_frame(worker, key, error, code);
                }
            },
            Phase::Open | Phase::HasFirstFrame { .. } | Phase::HasToken(_) => {
                handle_text(worker, key, &text, phase);
            }
        },
        Incoming::Ping(payload) => worker.send_reply(key, encode_pong(&payload)),
        Incoming::Pong => worker.connections[key].pong_deadline = None,
        Incoming::Close(code) => worker.close_by_client(key, code, encode_close_reply(code)),
    }
}

/// Parses the first frame: `connect`, or `auth`, which contains nothing but the token.
fn parse_first(text: &str, defaults: ConnectRequest) -> Result<FirstFrame, FrameError> {
    let frame = ClientFrame::parse(text)?;
    let kind = frame.kind();
    let request = match frame {
        ClientFrame::Connect(request) => request.or(defaults),
        ClientFrame::Auth(AuthRequest { token }) => {
            ConnectRequest { token: Some(token), ..defaults }
        }
        ClientFrame::Subscribe(_) | ClientFrame::Unsubscribe(_) | ClientFrame::Ping {} => {
            let message = "type must be connect or auth in the first frame";
            return Err(FrameError::new("invalid_field", message).reply_to(kind));
        }
    };
    let token = request.token.clone();
    let start = Start::try_from(request);
    let start = start.map_err(|error| FrameError::from(error).reply_to(kind))?;
    Ok(FirstFrame { start, token, kind })
}

/// Rejects a connection because of its first frame: sends an `error` frame and closes the
/// connection with the same reason.
pub(super) fn reject_first_frame(
    worker: &mut Worker,
    key: usize,
    error: FrameError,
    code: CloseCode,
) {
    let close = Close::with_reason(code, error.message.clone());
    reply_error(worker, key, error);
    worker.close(key, &close);
}

fn handle_text(worker: &mut Worker, key: usize, text: &str, phase: &mut Phase) {
    let frame = ClientFrame::parse(text);
    // The limit for `auth` is higher, because a token can be longer than any other frame.
    if text.len() > MESSAGE_BYTES_MAX && !matches!(frame, Ok(ClientFrame::Auth(_))) {
        worker.close(key, &CloseCode::TooLarge.into());
        return;
    }
    let handled = frame.and_then(|frame| {
        let kind = frame.kind();
        handle_frame(worker, key, frame, phase).map_err(|error| error.reply_to(kind))
    });
    if let Err(error) = handled {
        reply_error(worker, key, error);
    }
}

fn handle_frame(
    worker: &mut Worker,
    key: usize,
    frame: ClientFrame,
    phase: &mut Phase,
) -> Result<(), FrameError> {
    let before = Rc::clone(&worker.connections[key].group_key);
    let mut subscription = before.subscription.clone();
    let is_subscribe = match frame {
        ClientFrame::Ping {} => {
            reply(worker, key, &ServerFrame::Pong);
            return Ok(());
        }
        ClientFrame::Auth(AuthRequest { token }) => {
            // The session authenticates the client and replies.
            *phase = Phase::HasToken(token);
            return Ok(());
        }
        ClientFrame::Connect(_) => {
            let message = "type must not be connect: the connection has started; to start a \
                           connection with a connect frame, add connect=frame to the query";
            return Err(FrameError::new("invalid_field", message));
        }
        ClientFrame::Subscribe(request) => {
            subscription.subscribe(request)?;
            let identity = worker.connections[key].credential.identity();
            let forbidden = subscription.find_forbidden(identity, &before.subscription);
            if !forbidden.is_empty() {
                return Err(FrameError::forbidden(forbidden));
            }
            true
        }
        ClientFrame::Unsubscribe(request) => {
            subscription.unsubscribe(request)?;
            false
        }
    };
    let set = subscription.to_set();
    if subscription != before.subscription {
        worker.change_subscription(key, subscription);
    }
    let frame =
        if is_subscribe { ServerFrame::Subscribed(set) } else { ServerFrame::Unsubscribed(set) };
    reply(worker, key, &frame);
    // Send the newest frames of newly subscribed state feeds and newly watched hosts immediately.
    worker.flush_pending(key);
    Ok(())
}

/// Replies with an `error` frame.
pub(super) fn reply_error(worker: &mut Worker, key: usize, error: FrameError) {
    reply(worker, key, &ServerFrame::Error(error.into_frame()));
}

/// Replies with a frame. A connection that closes receives no more frames.
pub(super) fn reply(worker: &mut Worker, key: usize, frame: &ServerFrame<'_>) {
    if !worker.connections[key].is_open() {
        return;
    }
    let mut bytes = Vec::new();
    encode_json(&mut bytes, Encoding::WebSocket, None, &frame.to_json());
    worker.send_reply(key, bytes);
}
