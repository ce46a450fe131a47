//! The kinds of errors that the hot store and the cold store have in common.

use std::error::Error;

/// A store error, classified by how a caller can react to it.
///
/// Each store implements this trait for its error type, so that services can handle errors from
/// both stores in the same way.
pub trait StoreError: Error + Send + Sync + 'static {
    /// Returns the kind of the error.
    fn kind(&self) -> StoreErrorKind;

    /// Returns whether the store is available but rejected this request. Other requests may
    /// succeed.
    fn is_rejection(&self) -> bool {
        self.kind() == StoreErrorKind::Rejected
    }
}

/// The kind of a [`StoreError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// The store cannot be reached, or it cannot execute the request now. A write may have been
    /// applied.
    Unavailable,
    /// The store did not respond within the deadline. A write may have been applied.
    Timeout,
    /// The store has no capacity for the request. Nothing was written.
    Overloaded,
    /// The store rejected the request. A retry would fail in the same way.
    Rejected,
}
