//! How the stack is.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::instance::Instance;

/// Whether a process can do its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "why")]
pub enum Readiness {
    /// All of it.
    Ready,
    /// Some of it.
    Degraded(String),
    /// None of it.
    NotReady(String),
    /// It was told to stop.
    Stopped,
}

impl Readiness {
    /// Whether it does at least some of its work.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready | Self::Degraded(_))
    }
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Degraded(why) => write!(f, "degraded: {why}"),
            Self::NotReady(why) => write!(f, "not ready: {why}"),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

/// How one process is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// Which one.
    pub instance: Instance,
    /// Its process id while it runs.
    pub pid: Option<u32>,
    /// Whether it can do its work.
    pub readiness: Readiness,
    /// Where clients find it; for a worker, its admin port.
    pub url: String,
}
