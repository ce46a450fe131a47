//! The errors of the cold store, classified by how a caller can react.

use std::fmt::Display;

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use mayfly_core::{StoreError, StoreErrorKind};

use super::pool::PoolError;

/// A failed call to Postgres.
#[derive(Debug, thiserror::Error)]
pub enum ColdError {
    /// Postgres cannot be reached, closed the connection, or cannot execute the statement for a
    /// reason other than its data, for example because it is read-only or its disk is full. Retry
    /// later.
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
    /// Postgres rejected the data of the statement.
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
    /// succeed. Includes unknown errors, so that no valid entry becomes a dead letter.
    Unavailable,
    /// The statement was canceled, usually by a timeout.
    Timeout,
    /// A table, column, function, schema or other object does not exist.
    Undefined,
    /// Postgres rejects the data of the statement.
    Rejected,
}

impl ErrorClass {
    /// Classifies an error that has an SQLSTATE.
    pub(super) fn from_sqlstate(code: &str) -> Self {
        match code {
            // A canceled statement; a timeout while waiting for a lock.
            "57014" | "55P03" => Self::Timeout,
            "42P01" | "42703" | "42704" | "42883" | "3F000" => Self::Undefined,
            _ => match &code[..2] {
                // Data exceptions, constraint violations, program limits, errors raised by
                // triggers: the classes that try_store_messages_v1 and try_count_plays_v1 report as
                // a rejection.
                "22" | "23" | "54" | "P0" => Self::Rejected,
                _ => Self::Unavailable,
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

/// Describes an error with its SQLSTATE, and with what to do if a connection pooler probably caused
/// the error.
pub(super) fn describe_with_sqlstate(error: &dyn Display, code: Option<&str>) -> String {
    match code {
        // A prepared statement does not exist, or already exists.
        Some(code @ ("26000" | "42P05")) => format!(
            "{error} (SQLSTATE {code}): connection poolers in transaction mode are not supported; \
             connect directly or through a pooler in session mode"
        ),
        Some(code) => format!("{error} (SQLSTATE {code})"),
        None => error.to_string(),
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
        for code in [
            "08006", "0A000", "25006", "25P02", "26000", "40P01", "42501", "42601", "42P05",
            "53100", "53300", "55000", "57P01", "57P03", "58030", "XX000", "XX001", "XX002",
        ] {
            assert_eq!(ErrorClass::from_sqlstate(code), ErrorClass::Unavailable, "{code}");
        }
        for (code, class) in [
            ("57014", ErrorClass::Timeout),
            ("42P01", ErrorClass::Undefined),
            ("22021", ErrorClass::Rejected),
            ("23505", ErrorClass::Rejected),
            ("54000", ErrorClass::Rejected),
            ("P0001", ErrorClass::Rejected),
        ] {
            assert_eq!(ErrorClass::from_sqlstate(code), class, "{code}");
        }
    }
}
