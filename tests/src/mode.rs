//! Short everyday tests, or the full figures.

use std::time::Duration;

/// Whether the full figures are wanted: `MAYFLY_TEST_FULL=1`.
#[must_use]
pub fn is_full() -> bool {
    std::env::var_os("MAYFLY_TEST_FULL").is_some_and(|value| value == "1")
}

/// Whether every test is to go through the one entrance: `MAYFLY_TEST_ENTRANCE=1`.
pub(crate) fn is_through_entrance() -> bool {
    std::env::var_os("MAYFLY_TEST_ENTRANCE").is_some_and(|value| value == "1")
}

/// A figure of the everyday form, or of the full one.
pub fn short_or_full<T>(short: T, full: T) -> T {
    if is_full() { full } else { short }
}

/// A time that the contract names: itself in the full form, which runs alone, and four times as much in the
/// everyday one, which shares its machine with other tests.
#[must_use]
pub fn beside_others(promised: Duration) -> Duration {
    promised * short_or_full(4, 1)
}
