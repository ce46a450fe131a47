//! Access to Redis: connections, errors, scripts and batched round trips.

mod batcher;
mod clock;
mod error;
mod health;
pub mod metrics;
mod pool;
mod script;
mod server;
mod store;
#[cfg(test)]
pub(crate) mod test_log;
#[cfg(test)]
pub(crate) mod test_metrics;

pub(crate) use self::{
    batcher::{BatchCommand, BatchLimits, Batcher},
    clock::{TimeReply, to_micros},
    error::is_from_script,
    script::{millis, script, unexpected_reply},
};
pub use self::{error::HotError, health::RedisComponents, store::HotStore};
