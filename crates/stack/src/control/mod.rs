//! Control of a supervisor that runs in the background.
//!
//! A command sends one request and receives one reply over a Unix socket in the checkout. The
//! request and the reply are one line of JSON each.

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
/// for socket paths.
pub const SOCKET: &str = ".mayfly/control.sock";

/// A request to the supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Applies a spec.
    Apply(Box<Spec>),
    /// Shuts down when this connection closes for any reason.
    Attach,
    /// Stops a service or server.
    Stop(ProcessKind),
    /// Starts a service or server.
    Start(ProcessKind),
    /// Returns the status of every process.
    Status,
    /// Returns the spec that was applied last.
    Spec,
    /// Stops everything, and exits.
    Down,
}

/// A reply from the supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The request succeeded.
    Done,
    /// The request failed, with the reason.
    Failed(String),
    /// The stack could not be started, with the reason. Nothing is running, and the supervisor is
    /// exiting.
    NotStarted(String),
    /// The supervisor was already shutting down. A new supervisor can start after this one exits.
    ShuttingDown,
    /// The status of every process.
    Status(Vec<InstanceStatus>),
    /// The spec that was applied last. `None` if no spec has been applied yet or the stack is
    /// shutting down.
    Spec(Option<Box<Spec>>),
}
