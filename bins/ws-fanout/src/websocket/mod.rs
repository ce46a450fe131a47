//! WebSocket, RFC 6455, as far as a server that sends texts needs it.

mod close;
mod decode;
mod encode;

pub(crate) use self::{
    close::{Close, CloseCode},
    decode::{Decoder, Incoming},
    encode::{PING, close_frame, encode_close, encode_pong, encode_text, payload_of},
};
