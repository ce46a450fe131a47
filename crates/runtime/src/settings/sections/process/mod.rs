//! Sections that every service reads: ports, logging, shutdown, public URLs.

mod admin;
mod http;
mod lifecycle;
mod log;
mod public;

pub use self::{
    admin::AdminSettings,
    http::HttpSettings,
    lifecycle::LifecycleSettings,
    log::{LogFormat, LogSettings},
    public::PublicSettings,
};
