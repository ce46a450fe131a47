//! The body of the response to `/readyz`.

use std::collections::BTreeMap;

use serde::Serialize;

/// The status of a process and of its components.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HealthReport {
    /// The status of the process.
    pub status: HealthStatus,
    /// The status of every component, by name.
    #[serde(rename = "parts")]
    pub components: BTreeMap<&'static str, ComponentReport>,
}

/// The status of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// All components are up.
    Ready,
    /// An optional component is down; the service can do part of its work.
    Degraded,
    /// A required component is down; the service cannot work.
    Unavailable,
    /// The process is shutting down.
    Draining,
}

impl HealthStatus {
    /// Returns whether load balancers may send requests to this process.
    pub fn is_ready(self) -> bool {
        matches!(self, Self::Ready | Self::Degraded)
    }
}

/// The status of a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ComponentReport {
    /// Whether the component works.
    pub status: ComponentStatus,
    /// Why the component is down. Absent while the component is up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whether a component works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ComponentStatus {
    /// The component works.
    Up,
    /// The component does not work, or has not been checked yet.
    Down,
}
