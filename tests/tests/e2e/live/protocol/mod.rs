//! The WebSocket protocol and the frames of the live feeds.

mod asyncapi;
mod conformance;
mod connect_frame;
mod frames;
mod handshake;
mod pings;
mod text_frames;
