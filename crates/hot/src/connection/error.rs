//! Errors of the hot store, classified by what a caller can do about them.

use deadpool_redis::{PoolError, redis::RedisError};
use mayfly_core::{StoreError, StoreErrorKind};

/// A failed call to Redis.
#[derive(Debug, thiserror::Error)]
pub enum HotError {
    /// Redis is unreachable or not ready. The call can be retried later.
    #[error("Redis is unavailable: {0}")]
    Unavailable(String),
    /// Redis did not reply within the deadline. The command may have been executed.
    #[error("Redis did not reply in time")]
    Timeout,
    /// Redis reached `maxmemory`. Nothing was written; reads still succeed.
    #[error("Redis is out of memory")]
    OutOfMemory,
    /// Too many requests are waiting for Redis. Nothing was written.
    #[error("too many requests are waiting for Redis")]
    Overloaded,
    /// The stream or its consumer group does not exist: Redis lost its data.
    #[error("the consumer group does not exist")]
    NoGroup,
    /// Redis rejected the command.
    #[error("Redis rejected the command: {0}")]
    Rejected(#[source] RedisError),
}

impl HotError {
    /// Returns whether a command failed because its key does not exist.
    ///
    /// The code `ERR` is not sufficient: Redis also uses it for other failures, such as an unknown
    /// command or too many clients.
    pub(crate) fn is_missing_key(&self) -> bool {
        const DETAIL: &str = "no such key";
        matches!(self, Self::Rejected(error)
            if error.detail().is_some_and(|detail| detail.contains(DETAIL)))
    }
}

impl StoreError for HotError {
    fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Unavailable(_) | Self::NoGroup => StoreErrorKind::Unavailable,
            Self::Timeout => StoreErrorKind::Timeout,
            Self::OutOfMemory | Self::Overloaded => StoreErrorKind::Overloaded,
            Self::Rejected(_) => StoreErrorKind::Rejected,
        }
    }
}

impl From<RedisError> for HotError {
    fn from(error: RedisError) -> Self {
        match error.code() {
            Some("OOM") => return Self::OutOfMemory,
            // UNBLOCKED: the stream was deleted while a consumer was blocked on it.
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
            Self::Rejected(error)
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
