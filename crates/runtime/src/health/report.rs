//! What `/readyz` shows.

use std::collections::BTreeMap;

use serde::Serialize;

/// How a process is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The whole.
    pub status: Status,
    /// Every part by its name.
    pub parts: BTreeMap<&'static str, PartReport>,
}

/// How the whole is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Every part is up.
    Ready,
    /// A useful part is down; some of the work is done.
    Degraded,
    /// A required part is down; none of the work is done.
    Unavailable,
    /// The process is about to leave.
    Draining,
}

impl Status {
    /// Whether requests may be sent here.
    pub fn is_ready(self) -> bool {
        matches!(self, Self::Ready | Self::Degraded)
    }
}

/// How a part is, and why it is down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartReport {
    /// Up or down.
    pub status: PartStatus,
    /// Why it is down; none while it is up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Up or down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PartStatus {
    /// It answers.
    Up,
    /// It does not.
    Down,
}
