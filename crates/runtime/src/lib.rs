//! What every process of Mayfly needs around its work: configuration, telemetry, signals, health, metrics.

mod command_line;
mod every;
mod health;
mod lifecycle;
pub mod metrics;
mod open_files;
mod process;
mod readiness;
mod redact;
mod run;
mod service;
pub mod settings;
mod signals;
mod telemetry;

pub use self::{
    every::{every, repeat},
    health::{Health, Need, Part, PartReport, PartStatus, Report, Status},
    lifecycle::Lifecycle,
    metrics::MetricsHandle,
    process::Process,
    redact::redact,
    run::run,
    service::Service,
    settings::{
        AllowedOrigin, AllowedOrigins, LogFormat, Settings, SettingsError, TrustedProxies,
        env_example, key_table,
    },
};

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
