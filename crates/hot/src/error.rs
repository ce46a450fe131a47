//! What can go wrong with Redis, by what a caller can do about it.

use deadpool_redis::{
    PoolError,
    redis::{ErrorKind, RedisError},
};

/// A call to Redis that gave no answer of use.
#[derive(Debug, thiserror::Error)]
pub enum HotError {
    /// Redis cannot be reached, or went away: try again later.
    #[error("Redis is not reachable: {0}")]
    Unavailable(String),
    /// No answer within the deadline: try again later. What was asked for may have happened.
    #[error("Redis did not answer in time")]
    Timeout,
    /// Redis has no memory left for a write: nothing was written, reads go on.
    #[error("Redis is full")]
    Full,
    /// More requests wait for Redis than may wait: nothing was written.
    #[error("too many requests wait for Redis")]
    Overloaded,
    /// The stream or its consumer group is gone: Redis lost its data.
    #[error("the consumer group is gone")]
    NoGroup,
    /// Redis refused what it was asked.
    #[error("Redis refused: {0}")]
    Refused(#[source] RedisError),
}

impl From<RedisError> for HotError {
    fn from(error: RedisError) -> Self {
        match error.code() {
            Some("OOM") => return Self::Full,
            // The second: the stream went while a consumer waited for it.
            Some("NOGROUP" | "UNBLOCKED") => return Self::NoGroup,
            Some("LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "READONLY" | "BUSY") => {
                return Self::Unavailable(error.to_string());
            }
            _ => {}
        }
        if error.is_timeout() {
            Self::Timeout
        } else if error.is_io_error()
            || error.is_connection_dropped()
            || error.is_unrecoverable_error()
        {
            Self::Unavailable(error.to_string())
        } else {
            Self::Refused(error)
        }
    }
}

impl From<PoolError> for HotError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => error.into(),
            PoolError::Timeout(_) => Self::Timeout,
            other => Self::Unavailable(other.to_string()),
        }
    }
}

/// A script said what this version of it never says.
pub(crate) fn unexpected_answer(what: &'static str) -> RedisError {
    RedisError::from((ErrorKind::UnexpectedReturnType, what))
}
