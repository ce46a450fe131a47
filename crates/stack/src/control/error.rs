//! Errors in the communication with the supervisor.

use std::path::PathBuf;

use crate::error::StackError;

/// An error that occurs during a request to the supervisor.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The request failed, with the reason.
    #[error("{0}")]
    Failed(String),
    /// The stack could not be started, with the reason. Nothing is running, and the supervisor is
    /// exiting.
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
    /// The supervisor sent a reply of an unexpected type.
    #[error("the supervisor sent an unexpected reply")]
    UnexpectedReply,
    /// The supervisor is from another build, which uses a different protocol.
    #[error("another build of mayfly supervises this stack; run `make down` first")]
    OtherBuild(#[source] serde_json::Error),
    /// The supervisor exited or did not start to listen in time.
    #[error("the supervisor did not start; see {}", .0.display())]
    NotStarted(PathBuf),
    /// The supervisor did not exit in time.
    #[error("the supervisor did not exit in time; see .mayfly/logs/supervisor.log")]
    NotExited,
    /// A file or process operation failed.
    #[error(transparent)]
    Stack(#[from] StackError),
}
