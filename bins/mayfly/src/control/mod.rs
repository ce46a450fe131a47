//! How commands talk to the supervisor: one request and one reply, each a line of JSON, over a socket in the checkout.

mod client;
mod server;

use mayfly_stack::{InstanceStatus, Part, Spec};
use serde::{Deserialize, Serialize};

pub(crate) use client::{Client, start_supervisor, wait_until_unsupervised};
pub(crate) use server::Server;

/// Where the supervisor listens, seen from the checkout. Absolute it might be longer than a socket's name may be.
pub(crate) const SOCKET: &str = ".mayfly/control.sock";

/// What a command asks of the supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// To bring the stack to this.
    Apply(Box<Spec>),
    /// To bring all down as soon as this connection ends, in whatever way.
    Attach,
    /// To stop a part.
    Stop(Part),
    /// To start a part.
    Start(Part),
    /// To say how all is.
    Status,
    /// To say what the stack was brought to last.
    Spec,
    /// To stop all, and end.
    Down,
}

/// What the supervisor replies.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// It is done.
    Done,
    /// It could not be done, and why.
    Failed(String),
    /// How all is.
    Status(Vec<InstanceStatus>),
    /// What the stack was brought to last; none where it never was.
    Spec(Option<Box<Spec>>),
}
