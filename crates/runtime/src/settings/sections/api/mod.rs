//! Sections for the client-facing services.

mod auth;
mod fanout;
mod ingest;
mod limits;
mod list;

pub use self::{
    auth::{AuthMode, AuthSettings, JwksFile, TokenSecrets},
    fanout::{FanoutSettings, SlowConsumer},
    ingest::IngestSettings,
    limits::LimitsSettings,
    list::ListSettings,
};
