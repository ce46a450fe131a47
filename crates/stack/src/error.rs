//! The errors that operations on a stack return.

use std::io;
use std::path::PathBuf;

use crate::topology::instance::ProcessKind;

/// An error that an operation on a stack returns.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// A program that the stack needs is not installed, or is installed but cannot be used, for
    /// example because its version is not supported.
    #[error("{0}")]
    MissingDependency(String),
    /// A port of the stack is in use. Stop the other program, or move the stack to other ports.
    #[error(
        "port {port} ({name}) is in use by another program; choose other ports with MAYFLY_PORT_BASE=<number>"
    )]
    PortTaken {
        /// The port on 127.0.0.1.
        port: u16,
        /// The process that needs the port.
        name: String,
    },
    /// No free ports are left, or the port base is out of range.
    #[error("{0}")]
    Ports(String),
    /// Processes that did not become ready, each with the reason. If they are services, all
    /// processes keep running.
    #[error("{}", format_unready(.0))]
    NotReady(Vec<(String, String)>),
    /// The schema migration failed.
    #[error("mayfly migrate failed: {0}")]
    Migrate(String),
    /// Postgres could not be set up.
    #[error("cannot set up Postgres: {0}")]
    Postgres(String),
    /// The stack does not run this process, for example because the service is scaled to 0 or an
    /// external server replaces the stack's own server.
    #[error("this stack does not run {0}")]
    NotManaged(ProcessKind),
    /// The stack is shutting down.
    #[error("the stack is shutting down")]
    ShuttingDown,
    /// A file or process operation failed.
    #[error("{}: {error}", .path.display())]
    Io {
        /// The file or program.
        path: PathBuf,
        /// The operating system error.
        error: io::Error,
    },
    /// The spec describes the stack of another checkout.
    #[error("this stack belongs to the checkout {}", .0.display())]
    OtherRoot(PathBuf),
}

impl StackError {
    /// Returns a function that adds `path` to an I/O error.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::Io { path, error }
    }
}

fn format_unready(unready: &[(String, String)]) -> String {
    let lines: Vec<_> =
        unready.iter().map(|(name, reason)| format!("{name} is not ready: {reason}")).collect();
    lines.join("\n")
}
