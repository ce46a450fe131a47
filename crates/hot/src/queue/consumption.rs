//! Consumption times: how long items waited before workers stored or counted them.

use deadpool_redis::redis;
use mayfly_core::{Consumption, Timestamp, stats::LastItem};

use crate::{
    connection::{HotError, script},
    queue::{Queue, Stream},
};

script!(RECORD, include_str!("record_consumption.lua"));

impl Queue<'_> {
    /// Adds the consumption times of a batch to the totals for all workers.
    pub async fn record_consumption(
        self,
        stream: Stream,
        consumed: &Consumption,
    ) -> Result<(), HotError> {
        let Some(latest) = consumed.latest else { return Ok(()) };
        let mut call = RECORD.prepare_invoke();
        call.key(self.store.keys.consumption(stream));
        call.arg(latest.waited_ms).arg(consumed.sum_ms);
        for (bucket, items) in &consumed.buckets {
            call.arg(*bucket).arg(*items);
        }
        self.store.call(async |connection| call.invoke_async::<()>(connection).await).await
    }

    /// Returns the consumption times of all items consumed since Redis was last empty.
    /// Returns empty totals if the key has the wrong type or contains an invalid value.
    pub async fn find_consumption(self, stream: Stream) -> Result<Consumption, HotError> {
        let key = self.store.keys.consumption(stream);
        let fields: Result<Vec<(String, u64)>, _> = self
            .store
            .call(async |connection| redis::cmd("HGETALL").arg(&key).query_async(connection).await)
            .await;
        let fields = self.store.skip_unreadable(&key, fields)?.unwrap_or_default();
        let mut total = Consumption::default();
        let (mut at, mut waited_ms) = (None, None);
        for (name, value) in fields {
            match (name.as_str(), name.parse()) {
                ("latest_at", _) => at = i64::try_from(value).ok(),
                ("latest", _) => waited_ms = Some(value),
                ("sum", _) => total.sum_ms = value,
                (_, Ok(bucket)) => {
                    total.buckets.insert(bucket, value);
                }
                _ => {}
            }
        }
        total.latest = at
            .zip(waited_ms)
            .map(|(at, waited_ms)| LastItem { at: Timestamp::from_millis(at), waited_ms });
        Ok(total)
    }
}
