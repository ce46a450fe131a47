//! The errors of the cold store, classified by how a caller can react.

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::pooled_connection::deadpool::PoolError;
use mayfly_core::{StoreError, StoreErrorKind};

/// A failed call to Postgres.
#[derive(Debug, thiserror::Error)]
pub enum ColdError {
    /// Postgres cannot be reached, or closed the connection. Retry later.
    #[error("Postgres is unavailable: {0}")]
    Unavailable(Box<dyn std::error::Error + Send + Sync>),
    /// Postgres did not respond within the deadline. Retry later. The statement may have been
    /// executed.
    #[error("Postgres did not respond in time")]
    Timeout,
    /// A table or a function does not exist; the migrations create it.
    #[error("the database schema is missing or outdated: run `mayfly migrate`")]
    SchemaMissing(#[source] DieselError),
    /// Postgres rejected the statement.
    #[error("Postgres rejected the statement: {0}")]
    Rejected(DieselError),
}

impl ColdError {
    /// Returns whether Postgres is unavailable, so that the call may succeed later.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Timeout)
    }

    /// Returns whether a retry may succeed: once Postgres is available, or once the migrations have
    /// run.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.is_outage() || matches!(self, Self::SchemaMissing(_))
    }
}

impl StoreError for ColdError {
    fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Unavailable(_) | Self::SchemaMissing(_) => StoreErrorKind::Unavailable,
            Self::Timeout => StoreErrorKind::Timeout,
            Self::Rejected(_) => StoreErrorKind::Rejected,
        }
    }
}

impl From<PoolError> for ColdError {
    fn from(error: PoolError) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

impl From<DieselError> for ColdError {
    fn from(error: DieselError) -> Self {
        match &error {
            DieselError::DatabaseError(
                DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand,
                _,
            )
            | DieselError::BrokenTransactionManager => Self::Unavailable(Box::new(error)),
            _ => Self::Rejected(error),
        }
    }
}
