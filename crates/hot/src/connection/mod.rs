//! Access to Redis: connections, errors, scripts and batched round trips.

mod batcher;
mod error;
mod health;
pub mod metrics;
mod script;
mod store;

pub(crate) use self::{
    batcher::{BatchCommand, Batcher},
    script::{millis, script, unexpected_reply},
};
pub use self::{error::HotError, store::HotStore};
