//! Trimming the streams.

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

/// The maximum size of the entries trimmed in one step, which blocks Redis for a few milliseconds.
const STEP_BYTES: u64 = 64 * 1024 * 1024;
/// The maximum number of steps of one run, more than any write rate requires each second.
const STEPS_MAX: usize = 50;

/// The outcome of trimming a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrimOutcome {
    /// The number of trimmed entries.
    pub trimmed: u64,
    /// Groups other than that of the workers that have not read all trimmed entries, at most ten.
    pub other_groups: Vec<String>,
}

impl Queue<'_> {
    /// Trims entries that are acknowledged by the workers and older than the resume window by the
    /// clock of Redis. The window is shortened where the stream exceeds `bytes_max`, and ignored
    /// where Redis is nearly full. Unacknowledged entries are never trimmed; groups that are not
    /// Mayfly's are ignored.
    ///
    /// O(log n + t) for t trimmed of n entries, in bounded steps.
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
            // A name may consist of any bytes.
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
