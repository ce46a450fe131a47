//! Problems that report a store error.

use mayfly_core::{StoreError, StoreErrorKind};

use super::{Code, Problem};

impl<E: StoreError> From<E> for Problem {
    fn from(error: E) -> Self {
        Self::from_store_error(&error)
    }
}

impl Problem {
    /// Creates the problem that reports `error`. Only the log contains the error itself.
    pub fn from_store_error(error: &dyn StoreError) -> Self {
        let code = match error.kind() {
            StoreErrorKind::Unavailable | StoreErrorKind::Timeout => Code::Unavailable,
            StoreErrorKind::Overloaded => Code::Overloaded,
            StoreErrorKind::Rejected => Code::Internal,
        };
        Self::new(code).caused_by(error)
    }
}
