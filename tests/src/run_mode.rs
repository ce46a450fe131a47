//! Environment variables that select how the tests run.

use std::time::Duration;

/// Returns whether the tests run at full size with contractual deadlines: `MAYFLY_TEST_FULL=1`.
#[must_use]
pub fn is_full() -> bool {
    std::env::var_os("MAYFLY_TEST_FULL").is_some_and(|value| value == "1")
}

/// Returns whether all requests go through the reverse proxy: `MAYFLY_TEST_PROXY=1`.
pub(crate) fn is_behind_reverse_proxy() -> bool {
    std::env::var_os("MAYFLY_TEST_PROXY").is_some_and(|value| value == "1")
}

/// Returns `full` in a full run, otherwise `short`.
pub fn short_or_full<T>(short: T, full: T) -> T {
    if is_full() { full } else { short }
}

/// Returns a contractual deadline: unchanged in a full run, which runs alone on the machine, and
/// ten times as long otherwise, because tests then run concurrently.
#[must_use]
pub fn with_slack(deadline: Duration) -> Duration {
    deadline * short_or_full(10, 1)
}
