//! What can go wrong with a stack.

use std::io;
use std::path::PathBuf;

use crate::instance::Part;

/// Why a stack is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// A program that the stack needs is not there. The caller installs it.
    #[error("{0}")]
    Missing(String),
    /// Another program has a port of the stack's. The caller ends it or moves the stack.
    #[error(
        "port {port} ({name}) is taken by another program; choose other ports with MAYFLY_PORT_BASE=<number>"
    )]
    PortTaken {
        /// The port on 127.0.0.1.
        port: u16,
        /// What it was for.
        name: String,
    },
    /// No ports are to be had, or the base leaves no room for them.
    #[error("{0}")]
    Ports(String),
    /// Processes that did not get ready, each with its reason. The rest of the stack runs.
    #[error("{}", list_unready(.0))]
    NotReady(Vec<(String, String)>),
    /// The schema could not be brought up to date.
    #[error("mayfly migrate failed: {0}")]
    Migrate(String),
    /// Postgres could not be set up.
    #[error("Postgres could not be set up: {0}")]
    Postgres(String),
    /// The stack has none of it: scaled to 0, or given from outside.
    #[error("{0} is not run by this stack")]
    NotRun(Part),
    /// The stack is going down.
    #[error("the stack is going down")]
    Closing,
    /// A file or a process could not be made.
    #[error("{path}: {source}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A spec for another checkout.
    #[error("this stack belongs to {0}")]
    OtherRoot(PathBuf),
}

impl StackError {
    /// Makes the error of a path from what the system said.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

fn list_unready(unready: &[(String, String)]) -> String {
    let lines: Vec<_> =
        unready.iter().map(|(name, why)| format!("{name} is not ready: {why}")).collect();
    lines.join("\n")
}
