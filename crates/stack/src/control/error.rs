//! Errors of the communication with the supervisor.

use std::path::PathBuf;

use crate::error::StackError;

/// An error of a request to the supervisor.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The supervisor could not do what was requested.
    #[error("{0}")]
    Failed(String),
    /// The stack could not be started. Nothing runs, and the supervisor exits.
    #[error("{0}")]
    StackNotStarted(String),
    /// The supervisor was already shutting down.
    #[error("the stack is shutting down")]
    ShuttingDown,
    /// The connection broke.
    #[error("lost the connection to the supervisor")]
    Disconnected(#[source] std::io::Error),
    /// The supervisor exited before it sent a reply.
    #[error("the supervisor exited without a reply; see .mayfly/logs/supervisor.log")]
    NoReply,
    /// The supervisor sent a reply of another type than expected.
    #[error("the supervisor sent an unexpected reply")]
    UnexpectedReply,
    /// The supervisor is of another build with a different protocol.
    #[error("another build of mayfly supervises this stack; run `make down` first")]
    OtherBuild(#[source] serde_json::Error),
    /// The supervisor did not start, or not in time.
    #[error("the supervisor does not start; see {}", .0.display())]
    NotStarted(PathBuf),
    /// The supervisor did not exit in time.
    #[error("the supervisor does not exit; see .mayfly/logs/supervisor.log")]
    NotExited,
    /// A file or process operation failed.
    #[error(transparent)]
    Stack(#[from] StackError),
}
