//! Keeping the queues in order: trimming, and forgetting consumers that are gone.

use std::{sync::LazyLock, time::Duration};

use deadpool_redis::redis::{self, Script};
use mayfly_core::Timestamp;

use crate::{accept::millis, error::HotError, pool::Hot, stream::Stream};

static TRIM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/trim.lua")));
static SETTLE_WAITING: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/settle_waiting.lua")));
static FORGET_CONSUMERS: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/forget_consumers.lua")));

/// A consumer that was silent for so long, and has nothing, is forgotten.
const CONSUMER_SILENCE: Duration = Duration::from_secs(600);

impl Hot {
    /// Trims a stream behind what is acknowledged and behind the resume window, which gives way
    /// where it exceeds its bytes, and goes where Redis is nearly full. Gives how many entries went.
    pub async fn trim(
        &self,
        stream: Stream,
        window: Duration,
        bytes_max: u64,
        now: Timestamp,
    ) -> Result<u64, HotError> {
        let window = if self.is_nearly_full().await? { Duration::ZERO } else { window };
        let keep_from = Timestamp::from_millis(0)
            .plus(now.since(Timestamp::from_millis(0)).saturating_sub(window));
        let mut call = TRIM.prepare_invoke();
        call.key(stream.key(&self.keys)).arg(keep_from.as_millis()).arg(bytes_max);
        self.call(async |connection| call.invoke_async(connection).await).await
    }

    async fn is_nearly_full(&self) -> Result<bool, HotError> {
        let info: redis::InfoDict = self
            .call(async |connection| redis::cmd("INFO").arg("memory").query_async(connection).await)
            .await?;
        let used: u64 = info.get("used_memory").unwrap_or(0);
        let most: u64 = info.get("maxmemory").unwrap_or(0);
        Ok(most > 0 && used > most / 10 * 9)
    }

    /// Puts right how many plays wait, where none is queued.
    pub async fn settle_waiting_plays(&self) -> Result<(), HotError> {
        let stream = Stream::Plays;
        let mut call = SETTLE_WAITING.prepare_invoke();
        call.key(stream.key(&self.keys)).key(self.keys.ledger()).arg(stream.group());
        self.call(async |connection| call.invoke_async::<()>(connection).await).await
    }

    /// Forgets consumers that are gone.
    pub async fn forget_consumers(&self, stream: Stream) -> Result<u64, HotError> {
        let mut call = FORGET_CONSUMERS.prepare_invoke();
        call.key(stream.key(&self.keys)).arg(stream.group());
        call.arg(millis(CONSUMER_SILENCE));
        self.call(async |connection| call.invoke_async(connection).await).await
    }
}
