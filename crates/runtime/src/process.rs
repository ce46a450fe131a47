//! What a service is handed when it starts.

use std::{fmt::Write, net::SocketAddr, sync::Arc};

use tracing::info;

use crate::{Health, Lifecycle, MetricsHandle, Service, Settings, VERSION};

/// One running service: its configuration, and its ties to whoever runs it.
#[derive(Clone, Debug)]
pub struct Process {
    /// Which of the five it is.
    pub service: Service,
    /// The configuration, fixed for the life of the process.
    pub settings: Arc<Settings>,
    /// Says when to leave.
    pub lifecycle: Lifecycle,
    /// Told which parts are up, and asked by `/readyz`.
    pub health: Health,
    /// Asked by `/metrics`.
    pub metrics: MetricsHandle,
}

impl Process {
    /// Makes a process that is tied to nothing global: no signals, no log, metrics of its own. Tests run on it.
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
        Self { service, settings: Arc::new(settings), lifecycle, health, metrics }
    }

    /// Logs the one line that says the service runs, and where: `&[("http", address), ("admin", address)]`.
    pub fn started(&self, listening: &[(&str, SocketAddr)]) {
        let mut ports = String::new();
        for (name, address) in listening {
            let blank = if ports.is_empty() { "" } else { " " };
            // Writing to a string cannot fail.
            let _ = write!(ports, "{blank}{name}={address}");
        }
        info!(service.name = %self.service, service.version = VERSION, process.id = std::process::id(), ports, "started");
    }
}
