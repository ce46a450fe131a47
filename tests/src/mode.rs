//! Short everyday tests, or the full figures.

/// Whether the full figures are wanted: `MAYFLY_TEST_FULL=1`.
#[must_use]
pub fn is_full() -> bool {
    std::env::var_os("MAYFLY_TEST_FULL").is_some_and(|value| value == "1")
}

/// A figure of the everyday form, or of the full one.
pub fn short_or_full<T>(short: T, full: T) -> T {
    if is_full() { full } else { short }
}
