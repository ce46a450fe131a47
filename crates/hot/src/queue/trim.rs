//! Trims the streams.

use std::time::Duration;

use deadpool_redis::redis;

use crate::{
    connection::{HotError, millis, script},
    queue::{Queue, Stream},
};

script!(
    TRIM,
    "#!lua flags=allow-oom\n",
    include_str!("groups.lua"),
    include_str!("trim_stream.lua"),
);

/// The approximate maximum total size of the entries that one step trims, in bytes. A step blocks
/// Redis for a few milliseconds.
const STEP_BYTES: u64 = 64 * 1024 * 1024;
/// The maximum number of steps in one call. A stream that is trimmed every second needs fewer steps
/// at any realistic write rate.
const STEPS_MAX: usize = 50;

/// The outcome of trimming a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrimOutcome {
    /// The number of trimmed entries.
    pub trimmed: u64,
    /// The names of at most ten groups that belong to other programs and have not acknowledged all
    /// entries that have been trimmed or are due to be trimmed.
    pub other_groups: Vec<String>,
}

impl Queue<'_> {
    /// Trims entries that the workers have acknowledged and that are older than `window`, the
    /// resume window, according to the Redis clock. If the stream exceeds `bytes_max`, also trims
    /// the oldest acknowledged entries within the window. If Redis uses more than 90% of its
    /// `maxmemory`, ignores the window. Never trims entries that the workers have not acknowledged.
    /// Groups of other programs do not prevent trimming.
    ///
    /// O(log n + t + g) for n entries, t trimmed entries and g consumer groups, in bounded steps.
    pub async fn trim(
        self,
        stream: Stream,
        window: Duration,
        bytes_max: u64,
    ) -> Result<TrimOutcome, HotError> {
        let window = if self.is_nearly_full().await? { Duration::ZERO } else { window };
        let mut outcome = TrimOutcome::default();
        for _ in 0..STEPS_MAX {
            let mut call = TRIM.prepare_invoke();
            call.key(self.store.keys.stream(stream));
            call.arg(stream.group()).arg(millis(window)).arg(bytes_max).arg(STEP_BYTES);
            let (trimmed, has_more, groups): (u64, bool, Vec<Vec<u8>>) =
                self.store.call(async |connection| call.invoke_async(connection).await).await?;
            outcome.trimmed += trimmed;
            // The name of a group can contain any bytes.
            let names = groups.iter().map(|name| String::from_utf8_lossy(name).into_owned());
            outcome.other_groups = names.collect();
            if !has_more {
                break;
            }
        }
        Ok(outcome)
    }

    async fn is_nearly_full(self) -> Result<bool, HotError> {
        let info: redis::InfoDict = self
            .store
            .call(async |connection| redis::cmd("INFO").arg("memory").query_async(connection).await)
            .await?;
        let used: u64 = info.get("used_memory").unwrap_or(0);
        let max: u64 = info.get("maxmemory").unwrap_or(0);
        Ok(max > 0 && used > max / 10 * 9)
    }
}
