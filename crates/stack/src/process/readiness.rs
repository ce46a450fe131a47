//! Readiness of a process.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether a process can do its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "why")]
pub enum Readiness {
    /// The process is fully functional.
    Ready,
    /// An optional dependency is unavailable.
    Degraded(String),
    /// The process cannot do its work.
    NotReady(String),
    /// An operator stopped the process.
    Stopped,
}

impl Readiness {
    /// Returns whether the process can do at least part of its work.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready | Self::Degraded(_))
    }
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Degraded(reason) => write!(f, "degraded: {reason}"),
            Self::NotReady(reason) => write!(f, "not ready: {reason}"),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}
