//! What can go wrong with Postgres, by what a caller can do about it.

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::pooled_connection::deadpool::PoolError;

/// A call to Postgres that gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ColdError {
    /// Postgres cannot be reached, or went away: try again later.
    #[error("Postgres is not reachable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No answer within the deadline: try again later. What was asked for may have happened.
    #[error("Postgres did not answer in time")]
    Timeout,
    /// A table or a function is not there: it will be when the migrations have run.
    #[error("the schema is not there yet: run `mayfly migrate`")]
    NotMigrated(#[source] DieselError),
    /// Postgres refused what it was asked.
    #[error("Postgres refused: {0}")]
    Refused(#[source] DieselError),
}

impl ColdError {
    /// Whether the same call may succeed later, without anything else being changed.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Timeout)
    }

    /// Whether it may succeed later: Postgres is away, or its tables are still to be made.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        self.is_outage() || matches!(self, Self::NotMigrated(_))
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
            // 57P01 and its kin come as words only.
            DieselError::DatabaseError(DatabaseErrorKind::Unknown, words)
                if words.message().starts_with("terminating connection")
                    || words.message().starts_with("the database system is") =>
            {
                Self::Unavailable(Box::new(error))
            }
            // So do 42P01 and 42883.
            DieselError::DatabaseError(DatabaseErrorKind::Unknown, words)
                if is_missing(words.message()) =>
            {
                Self::NotMigrated(error)
            }
            _ => Self::Refused(error),
        }
    }
}

fn is_missing(words: &str) -> bool {
    ["relation ", "function "].iter().any(|what| words.starts_with(what))
        && words.ends_with(" does not exist")
}
