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

use tracing::{info, warn};

pub use self::{
    lifecycle::Lifecycle,
    panics::{exit_on_panic, wait_for_panic},
    run::{ServiceFuture, run},
    signals::StopSignals,
};
use crate::{FailureLog, Health, MetricsHandle, Service, Settings, VERSION, settings::AuthMode};

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
    /// `&[("http", addresses), ("admin", addresses)]`. Also logs a warning if callers from other
    /// machines can use the public port without credentials.
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
        let is_exposed = |&(name, addresses): &(&str, &[SocketAddr])| {
            let is_local = |address: &SocketAddr| address.ip().to_canonical().is_loopback();
            name == "http" && !addresses.iter().all(is_local)
        };
        if self.settings.auth.mode == AuthMode::Open && listening.iter().any(is_exposed) {
            warn!(
                component = "auth",
                "auth.mode is open and the public port does not listen on loopback addresses only: \
                 every caller that reaches the port can read, publish and take all messages; set \
                 auth.mode to keys, or http.listen to a loopback address"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;
    use crate::outage_log::tests::log_lines;

    /// Returns the number of warnings that a service with this mode and this public port logs when
    /// it starts.
    fn count_warnings(mode: &str, http: &str) -> usize {
        let env = [("MAYFLY_AUTH__MODE".to_owned(), mode.to_owned())];
        let settings = Settings::from_layers(None, env.into_iter()).expect("valid settings");
        let process = Process::new(Service::ListApi, settings);
        let parse = |text: &str| [text.parse::<SocketAddr>().expect("an address")];
        let (http, admin) = (parse(http), parse("0.0.0.0:9090"));
        let lines = log_lines(Level::WARN, || {
            process.log_started(&[("http", &http[..]), ("admin", &admin[..])]);
        });
        lines.len()
    }

    #[test]
    fn public_port_without_authentication_is_logged() {
        for (mode, http, warnings) in [
            ("open", "0.0.0.0:8080", 1),
            ("open", "[::]:8080", 1),
            ("open", "192.0.2.1:8080", 1),
            ("open", "127.0.0.1:8080", 0),
            ("open", "[::1]:8080", 0),
            ("keys", "0.0.0.0:8080", 0),
        ] {
            assert_eq!(count_warnings(mode, http), warnings, "{mode} {http}");
        }
    }
}
