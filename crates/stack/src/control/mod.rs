//! Control of a supervisor that runs in the background.
//!
//! A command sends one request and receives one reply over a Unix socket in the checkout. Both are
//! one line of JSON.

mod checkout;
mod client;
mod error;
mod server;

use serde::{Deserialize, Serialize};

pub use checkout::Checkout;
pub use client::{Client, start_supervisor, wait_until_supervisor_exits};
pub use error::ControlError;
pub use server::ControlServer;

use crate::spec::Spec;
use crate::supervisor::status::InstanceStatus;
use crate::topology::instance::ProcessKind;

/// The path of the socket, relative to the checkout. An absolute path could exceed the length limit
/// of socket names.
pub const SOCKET: &str = ".mayfly/control.sock";

/// A request to the supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Apply this spec.
    Apply(Box<Spec>),
    /// Shut down as soon as this connection closes, for any reason.
    Attach,
    /// Stop a service or server.
    Stop(ProcessKind),
    /// Start a service or server.
    Start(ProcessKind),
    /// Return the status of every process.
    Status,
    /// Return the spec that was applied last.
    Spec,
    /// Stop everything and exit.
    Down,
}

/// A reply of the supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The request succeeded.
    Done,
    /// The request failed, with the reason.
    Failed(String),
    /// The stack could not be started, for this reason. Nothing runs, and the supervisor exits.
    NotStarted(String),
    /// The supervisor was already shutting down. A new one can be started when it has exited.
    ShuttingDown,
    /// The status of every process.
    Status(Vec<InstanceStatus>),
    /// The spec that was applied last; `None` before the first one and during the shutdown.
    Spec(Option<Box<Spec>>),
}
