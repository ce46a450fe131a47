//! The subset of the WebSocket protocol (RFC 6455) that a server needs to exchange text frames.

mod close;
mod decoder;
mod encoder;

pub(crate) use self::{
    close::{Close, CloseCode},
    decoder::{Decoder, Incoming, MESSAGE_BYTES_MAX},
    encoder::{
        PING, encode_close, encode_close_reply, encode_pong, encode_text, find_frame, text_payload,
    },
};
