//! The errors of the cold store, classified by how a caller can react.

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use mayfly_core::{StoreError, StoreErrorKind};

use super::pool::PoolError;

/// A failed call to Postgres.
#[derive(Debug, thiserror::Error)]
pub enum ColdError {
    /// Postgres cannot be reached, closed the connection, or cannot execute the statement now, for
    /// example because it is read-only or its disk is full. Retry later.
    #[error("Postgres is unavailable: {0}")]
    Unavailable(Box<dyn std::error::Error + Send + Sync>),
    /// The call did not complete before its deadline, or Postgres canceled the statement. Retry
    /// later. The statement may have been executed.
    #[error("Postgres did not respond in time")]
    Timeout,
    /// Too many reads of the same kind are in progress. Retry later.
    #[error("too many reads of the same kind are in progress")]
    Overloaded,
    /// A table or a function that the migrations create does not exist.
    #[error("the database schema is missing or outdated: run `mayfly migrate`")]
    SchemaMissing(#[source] DieselError),
    /// Postgres rejected the statement.
    #[error("Postgres rejected the statement: {0}")]
    Rejected(DieselError),
}

impl ColdError {
    /// Returns whether Postgres is unavailable or did not respond in time.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Timeout)
    }

    /// Returns whether the call may succeed once Postgres is available or once the migrations have
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
            Self::Overloaded => StoreErrorKind::Overloaded,
            Self::Rejected(_) => StoreErrorKind::Rejected,
        }
    }
}

impl From<PoolError> for ColdError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => Self::Unavailable(Box::new(error)),
            PoolError::Timeout(_) => Self::Timeout,
            other => Self::Unavailable(other.to_string().into()),
        }
    }
}

/// The class of an error, which determines its [`ColdError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrorClass {
    /// Postgres, the session or the user cannot execute the statement now. Another session may
    /// succeed.
    Unavailable,
    /// The statement was canceled, usually by a timeout.
    Timeout,
    /// A table, column, function, schema or other object does not exist.
    Undefined,
    /// Postgres rejects the statement itself.
    Rejected,
}

impl ErrorClass {
    /// Classifies an error that has an SQLSTATE.
    pub(super) fn from_sqlstate(code: &str) -> Self {
        match code {
            // A canceled statement; a timeout while waiting for a lock.
            "57014" | "55P03" => Self::Timeout,
            // A read-only transaction; a missing right; an idle-in-transaction or transaction
            // timeout.
            "25006" | "42501" | "25P03" | "25P04" => Self::Unavailable,
            "42P01" | "42703" | "42704" | "42883" | "3F000" => Self::Undefined,
            _ => match &code[..2] {
                // Connection, authorization, missing database, transaction rollback (such as a
                // deadlock), insufficient resources (such as a full disk), operator intervention,
                // system error.
                "08" | "28" | "3D" | "40" | "53" | "57" | "58" => Self::Unavailable,
                _ => Self::Rejected,
            },
        }
    }

    /// Classifies an error without an SQLSTATE, which the client library raised.
    pub(super) fn from_client_error(error: &DieselError) -> Self {
        match error {
            DieselError::DatabaseError(
                DatabaseErrorKind::ClosedConnection
                | DatabaseErrorKind::UnableToSendCommand
                | DatabaseErrorKind::ReadOnlyTransaction,
                _,
            )
            | DieselError::BrokenTransactionManager => Self::Unavailable,
            _ => Self::Rejected,
        }
    }
}

/// Returns whether an error means that the session cannot write.
pub(super) fn is_read_only(error: &DieselError) -> bool {
    matches!(error, DieselError::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _))
}

#[cfg(test)]
mod tests {
    use super::ErrorClass;

    #[test]
    fn errors_are_classified_by_sqlstate() {
        for code in
            ["25006", "57P01", "57P03", "53100", "53300", "58030", "42501", "40P01", "08006"]
        {
            assert_eq!(ErrorClass::from_sqlstate(code), ErrorClass::Unavailable, "{code}");
        }
        for (code, class) in [
            ("57014", ErrorClass::Timeout),
            ("42P01", ErrorClass::Undefined),
            ("22021", ErrorClass::Rejected),
            ("23505", ErrorClass::Rejected),
            ("P0001", ErrorClass::Rejected),
        ] {
            assert_eq!(ErrorClass::from_sqlstate(code), class, "{code}");
        }
    }
}
