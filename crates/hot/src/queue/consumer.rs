//! A consumer of a queue, which reads new entries and claims abandoned entries.

use std::{collections::HashMap, time::Duration};

use deadpool_redis::redis::{self, Value, aio::MultiplexedConnection};

use crate::{
    connection::{HotError, HotStore},
    queue::{
        Stream,
        delivery::{Delivery, ReadBatch, parse_entries, parse_streams},
    },
};

/// A consumer in the workers' group of a stream. The entries that a consumer reads stay pending
/// until they are acknowledged.
pub struct Consumer {
    store: HotStore,
    stream: Stream,
    name: String,
    connection: Option<MultiplexedConnection>,
    /// The start of the next read: `>` for new entries, or an entry ID to read the pending entries
    /// of this consumer that follow the ID.
    from: String,
    /// The entry ID where the next search for abandoned entries starts.
    claim_from: String,
}

impl Consumer {
    /// Creates a consumer. `name` must be unique among all running workers.
    #[must_use]
    pub fn new(store: HotStore, stream: Stream, name: String) -> Self {
        let (from, claim_from) = (">".into(), "0-0".into());
        Self { store, stream, name, connection: None, from, claim_from }
    }

    /// Reads at most `count` entries, and waits at most `wait` for new entries. If the stream or
    /// its group does not exist, creates what is missing and returns an empty batch.
    ///
    /// After an error, the next calls first read the pending entries of this consumer again,
    /// because a reply with entries may have been lost. Therefore, after an error, the caller must
    /// process or discard all entries that it has received before it makes the next call.
    pub async fn read_batch(
        &mut self,
        count: usize,
        wait: Duration,
    ) -> Result<ReadBatch, HotError> {
        match self.read(count, wait).await {
            Ok(batch) => Ok(batch),
            Err(HotError::NoGroup) => {
                self.store.queue().create_group(self.stream).await?;
                ">".clone_into(&mut self.from);
                Ok(ReadBatch::default())
            }
            Err(error) => {
                self.connection = None;
                "0-0".clone_into(&mut self.from);
                Err(error)
            }
        }
    }

    async fn read(&mut self, count: usize, wait: Duration) -> Result<ReadBatch, HotError> {
        let timeout = wait + self.store.timeout;
        let mut command = redis::cmd("XREADGROUP");
        command.arg("GROUP").arg(self.stream.group()).arg(&self.name).arg("COUNT").arg(count);
        command.arg("BLOCK").arg(wait.as_millis().max(1)).arg("STREAMS");
        command.arg(self.store.keys.stream(self.stream)).arg(&self.from);
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.store.connection_for_blocking().await?),
        };
        let reply = tokio::time::timeout(timeout, command.query_async::<Value>(connection))
            .await
            .map_err(|_| HotError::Timeout)?
            .map_err(HotError::from)?;
        let batch = parse_streams(reply);
        if self.from != ">" {
            batch.find_last_id().unwrap_or(">").clone_into(&mut self.from);
        }
        Ok(batch)
    }

    /// Claims at most `count` pending entries that have been idle for at least `idle`. Returns the
    /// entries and their delivery counts by entry ID.
    pub async fn claim_batch(
        &mut self,
        idle: Duration,
        count: usize,
    ) -> Result<(ReadBatch, HashMap<String, u64>), HotError> {
        let stream = self.stream;
        let claimed: (String, Value, Vec<String>) = self
            .store
            .call(async |connection| {
                redis::cmd("XAUTOCLAIM")
                    .arg(self.store.keys.stream(stream))
                    .arg(stream.group())
                    .arg(&self.name)
                    .arg(idle.as_millis())
                    .arg(&self.claim_from)
                    .arg("COUNT")
                    .arg(count)
                    .query_async(connection)
                    .await
            })
            .await?;
        let (next, entries, deleted) = claimed;
        self.claim_from = next;
        let mut batch = parse_entries(entries);
        batch.deleted.extend(deleted);
        let delivery_counts = self.find_delivery_counts(&batch.deliveries).await?;
        Ok((batch, delivery_counts))
    }

    async fn find_delivery_counts(
        &self,
        claimed: &[Delivery],
    ) -> Result<HashMap<String, u64>, HotError> {
        let (Some(first), Some(last)) = (claimed.first(), claimed.last()) else {
            return Ok(HashMap::new());
        };
        let rows: Vec<(String, String, u64, u64)> = self
            .store
            .call(async |connection| {
                redis::cmd("XPENDING")
                    .arg(self.store.keys.stream(self.stream))
                    .arg(self.stream.group())
                    .arg(&first.entry_id)
                    .arg(&last.entry_id)
                    .arg(claimed.len().saturating_mul(2))
                    .arg(&self.name)
                    .query_async(connection)
                    .await
            })
            .await?;
        Ok(rows.into_iter().map(|(id, _, _, deliveries)| (id, deliveries)).collect())
    }
}
