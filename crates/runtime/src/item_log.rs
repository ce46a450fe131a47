//! Isolation of failing items, so that one failing item does not prevent a task from processing the
//! other items.

use std::{collections::HashMap, fmt::Display, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::{metrics::SKIPPED_ITEMS_TOTAL, redact};

/// The maximum number of failing items to remember. Once this number is reached, failures of
/// further items are logged only at `debug`.
const FAILING_MAX: usize = 1_000;
/// The time that an item is remembered after its last failure, unless it succeeds earlier.
const FAILING_TTL: Duration = Duration::from_secs(600);

/// The log for a task that processes many items and skips the items that fail: one warning when an
/// item starts to fail, and one line when the item succeeds again. Every skipped item is counted in
/// [`SKIPPED_ITEMS_TOTAL`].
#[derive(Debug)]
pub struct ItemLog {
    task: &'static str,
    /// The failing items, with the time of their last failure.
    failing: Mutex<HashMap<String, Instant>>,
}

impl ItemLog {
    /// Creates the log for a task without failing items.
    pub fn new(task: &'static str) -> Self {
        metrics::counter!(SKIPPED_ITEMS_TOTAL, "task" => task).increment(0);
        Self { task, failing: Mutex::default() }
    }

    /// Records the result for an item. Connection strings in the error are redacted.
    pub fn record<T, E: Display>(&self, item: impl Display, result: &Result<T, E>) {
        match result {
            Ok(_) => self.record_success(item),
            Err(error) => self.record_failure(item, error),
        }
    }

    /// Records the result for an item. Returns `None` if the item failed and `concerns_item`
    /// returns `true` for the error. The caller then skips the item.
    ///
    /// # Errors
    /// Any other error, which concerns all items. This failure is not recorded.
    pub fn isolate<T, E: Display>(
        &self,
        item: impl Display,
        result: Result<T, E>,
        concerns_item: impl FnOnce(&E) -> bool,
    ) -> Result<Option<T>, E> {
        match result {
            Ok(value) => {
                self.record_success(item);
                Ok(Some(value))
            }
            Err(error) if concerns_item(&error) => {
                self.record_failure(item, &error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn record_success(&self, item: impl Display) {
        let mut failing = self.failing.lock();
        if !failing.is_empty() && failing.remove(&item.to_string()).is_some() {
            info!(task = self.task, %item, "item recovered");
        }
    }

    /// Records the failure of an item.
    pub fn record_failure(&self, item: impl Display, error: impl Display) {
        metrics::counter!(SKIPPED_ITEMS_TOTAL, "task" => self.task).increment(1);
        let error = redact(&error.to_string()).into_owned();
        if self.is_new(item.to_string(), Instant::now()) {
            warn!(task = self.task, %item, error, "item failed; skipping only this item");
        } else {
            debug!(task = self.task, %item, error, "item failed again");
        }
    }

    /// Records a failing item. Returns whether the item has just started to fail. Always returns
    /// `false` for further items while [`FAILING_MAX`] items are failing.
    fn is_new(&self, item: String, now: Instant) -> bool {
        let mut failing = self.failing.lock();
        if let Some(failed_at) = failing.get_mut(&item) {
            return now.duration_since(std::mem::replace(failed_at, now)) >= FAILING_TTL;
        }
        if failing.len() >= FAILING_MAX {
            failing.retain(|_, failed_at| now.duration_since(*failed_at) < FAILING_TTL);
        }
        let has_space = failing.len() < FAILING_MAX;
        if has_space {
            failing.insert(item, now);
        }
        has_space
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn item_starts_to_fail_once_until_it_succeeds_or_is_forgotten() {
        let log = ItemLog::new("sample hosts");
        let now = Instant::now();
        let is_new = |now| log.is_new("a.org".into(), now);
        assert!(is_new(now) && !is_new(now));
        assert!(log.is_new("b.org".into(), now), "another item");
        log.record("a.org", &Ok::<_, &str>(()));
        assert!(is_new(now) && !is_new(now));
        let later = now + FAILING_TTL;
        assert!(is_new(later) && !is_new(later));
    }

    #[test]
    fn number_of_failing_items_is_bounded() {
        let log = ItemLog::new("sample hosts");
        let now = Instant::now();
        for item in 0..FAILING_MAX {
            assert!(log.is_new(item.to_string(), now));
        }
        assert!(!log.is_new("one more".into(), now));
        assert!(log.is_new("one more".into(), now + FAILING_TTL), "the others are forgotten");
    }

    #[test]
    fn failure_that_concerns_all_items_is_returned() {
        let log = ItemLog::new("sample hosts");
        let isolate = |result| log.isolate("a.org", result, |error: &&str| *error == "WRONGTYPE");
        assert_eq!(isolate(Ok(1)), Ok(Some(1)));
        assert_eq!(isolate(Err("WRONGTYPE")), Ok(None));
        assert_eq!(isolate(Err("LOADING")), Err("LOADING"));
    }
}
