//! Sections for the client-facing services.

mod fanout;
mod ingest;
mod limits;
mod list;

pub use self::{
    fanout::{FanoutSettings, SlowConsumer},
    ingest::IngestSettings,
    limits::LimitsSettings,
    list::ListSettings,
};
