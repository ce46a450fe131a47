//! How long items waited until they were stored or counted, over all workers.

use std::sync::LazyLock;

use deadpool_redis::redis::{self, Script};
use mayfly_core::{Consumption, Timestamp, consumption::Latest};

use crate::{error::HotError, pool::Hot, stream::Stream};

static NOTE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/note_consumed.lua")));

impl Hot {
    /// Adds the times of a batch to those of all workers.
    pub async fn note_consumed(
        &self,
        stream: Stream,
        consumed: &Consumption,
    ) -> Result<(), HotError> {
        let Some(latest) = consumed.latest else { return Ok(()) };
        let mut call = NOTE.prepare_invoke();
        call.key(self.keys.consumption(stream));
        call.arg(latest.waited_ms).arg(consumed.sum_ms);
        for (bucket, items) in &consumed.buckets {
            call.arg(*bucket).arg(*items);
        }
        self.call(async |connection| call.invoke_async::<()>(connection).await).await
    }

    /// The times of everything that was ever stored or counted, since Redis was emptied last.
    pub async fn find_consumption(&self, stream: Stream) -> Result<Consumption, HotError> {
        let fields: Vec<(String, u64)> = self
            .call(async |connection| {
                redis::cmd("HGETALL")
                    .arg(self.keys.consumption(stream))
                    .query_async(connection)
                    .await
            })
            .await?;
        let mut all = Consumption::default();
        let (mut at, mut waited_ms) = (None, None);
        for (name, value) in fields {
            match (name.as_str(), name.parse()) {
                ("latest_at", _) => at = i64::try_from(value).ok(),
                ("latest", _) => waited_ms = Some(value),
                ("sum", _) => all.sum_ms = value,
                (_, Ok(bucket)) => {
                    all.buckets.insert(bucket, value);
                }
                _ => {}
            }
        }
        all.latest = at
            .zip(waited_ms)
            .map(|(at, waited_ms)| Latest { at: Timestamp::from_millis(at), waited_ms });
        Ok(all)
    }
}
