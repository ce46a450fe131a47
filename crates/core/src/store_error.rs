//! The failures that Mayfly's stores have in common.

use std::error::Error;

/// An error of a store, classified by the possible reaction to it.
///
/// Stores implement it for their error types, so that services handle every store alike.
pub trait StoreError: Error + Send + Sync + 'static {
    /// Returns the kind of the error.
    fn kind(&self) -> StoreErrorKind;

    /// Returns whether the store works and rejected only this request: other requests may succeed.
    fn is_rejection(&self) -> bool {
        self.kind() == StoreErrorKind::Rejected
    }
}

/// The kind of a [`StoreError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// The store cannot be reached or is not ready. A write may have been applied.
    Unavailable,
    /// The store did not respond within the deadline. A write may have been applied.
    Timeout,
    /// The store has no capacity for the request. Nothing was written.
    Overloaded,
    /// The store rejected the request. A retry fails in the same way.
    Rejected,
}
