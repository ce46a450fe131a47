//! The runtime of every service process: configuration, logging, signals, health and metrics.

mod failure_log;
mod health;
mod item_log;
mod log_budget;
pub mod metrics;
mod outage_log;
mod periodic;
mod process;
mod redact;
mod service;
pub mod settings;
mod telemetry;

pub use self::{
    failure_log::{FailedRequest, FailureLog},
    health::{
        Component, ComponentReport, ComponentStatus, Criticality, Health, HealthReport,
        HealthStatus,
    },
    item_log::ItemLog,
    log_budget::LogBudget,
    metrics::MetricsHandle,
    outage_log::OutageLog,
    periodic::{run_periodically, ticker},
    process::{Lifecycle, Process, ServiceFuture, StopSignals, exit_on_panic, run, wait_for_panic},
    redact::redact,
    service::Service,
    settings::{
        AllowedHosts, AllowedOrigin, AllowedOrigins, ListenAddress, LogFormat, Settings,
        SettingsError, TrustedProxies, render_env_example, render_key_table,
    },
};

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
