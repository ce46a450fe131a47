//! A service process, from the command line to the exit code, and the context that the service
//! receives.

mod check_ready;
mod command_line;
mod lifecycle;
mod open_files;
mod panics;
mod run;
mod signals;

use std::{fmt::Write, net::SocketAddr, sync::Arc};

use tracing::info;

pub use self::{
    lifecycle::Lifecycle,
    panics::{exit_on_panic, wait_for_panic},
    run::{ServiceFuture, run},
    signals::StopSignals,
};
use crate::{FailureLog, Health, MetricsHandle, Service, Settings, VERSION};

/// A running service: its configuration, lifecycle, health and metrics.
#[derive(Clone, Debug)]
pub struct Process {
    /// The service that this process runs.
    pub service: Service,
    /// The configuration, which does not change while the process runs.
    pub settings: Arc<Settings>,
    /// The drain state and the shutdown timeout.
    pub lifecycle: Lifecycle,
    /// The state of the components, which `/readyz` reports.
    pub health: Health,
    /// The metrics that `/metrics` exports.
    pub metrics: MetricsHandle,
    /// The log of failed requests.
    pub failures: FailureLog,
}

impl Process {
    /// Creates a process that uses no global state (no signal handlers, no global log and no global
    /// metrics recorder), for tests.
    pub fn new(service: Service, settings: Settings) -> Self {
        Self::with_metrics(service, settings, MetricsHandle::detached())
    }

    pub(crate) fn with_metrics(
        service: Service,
        settings: Settings,
        metrics: MetricsHandle,
    ) -> Self {
        let lifecycle = Lifecycle::new(settings.lifecycle.shutdown_timeout);
        let health = Health::new(lifecycle.clone());
        let failures = FailureLog::default();
        Self { service, settings: Arc::new(settings), lifecycle, health, metrics, failures }
    }

    /// Logs that the service has started, with the addresses of its ports, such as
    /// `&[("http", addresses), ("admin", addresses)]`.
    pub fn log_started(&self, listening: &[(&str, &[SocketAddr])]) {
        let mut ports = String::new();
        for (name, addresses) in listening {
            let separator = if ports.is_empty() { "" } else { " " };
            let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            // Writing to a string cannot fail.
            let _ = write!(ports, "{separator}{name}={}", addresses.join(","));
        }
        info!(
            service.name = %self.service,
            service.version = VERSION,
            process.id = std::process::id(),
            ports,
            "started"
        );
    }
}
