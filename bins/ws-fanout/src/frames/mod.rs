//! Frames for clients. Each is encoded once per process and wire format.

mod batch;
mod encoding;
mod plays;
mod state;
mod trend;

pub(crate) use self::{
    batch::{Audience, Batch, EntrySet, Selection},
    encoding::{Encoding, encode_json, encode_sse_retry},
    plays::PlayFrames,
    state::StateFrame,
    trend::TrendFrame,
};
