//! Frames for clients. A frame that connections share is encoded at most once per wire format.

mod batch;
mod encoding;
mod plays;
mod state;
mod trend;

pub(crate) use self::{
    batch::{Audience, Batch, EntrySet, Selection},
    encoding::{Encoding, encode_json, encode_sse_retry, find_sse_event},
    plays::PlayFrames,
    state::StateFrame,
    trend::TrendFrame,
};
