//! A consumer of the queue: reads what nobody has, and takes over what others left behind.

use std::{collections::HashMap, time::Duration};

use deadpool_redis::redis::{self, Value, aio::MultiplexedConnection};

use crate::{
    delivery::{Delivery, Popped, read_entries, read_streams},
    error::HotError,
    pool::Hot,
    stream::Stream,
};

/// One consumer of the group of a stream. Not shared: what it read and did not acknowledge belongs to
/// it.
pub struct Consumer {
    hot: Hot,
    stream: Stream,
    name: String,
    connection: Option<MultiplexedConnection>,
    /// Where to go on: `>` for what nobody has, or an id to read again what this consumer has.
    from: String,
    /// Where the next look for abandoned entries begins.
    claim_from: String,
}

impl Consumer {
    /// A consumer of this name, which must be unique among all workers that run.
    #[must_use]
    pub fn new(hot: Hot, stream: Stream, name: String) -> Self {
        let (from, claim_from) = (">".into(), "0-0".into());
        Self { hot, stream, name, connection: None, from, claim_from }
    }

    /// Waits for entries, at most `wait`, and takes at most `count`. After an error, what may have
    /// been delivered without being seen is read again; until then the caller must have settled
    /// what it got before.
    pub async fn pop_batch(&mut self, count: usize, wait: Duration) -> Result<Popped, HotError> {
        match self.read(count, wait).await {
            Ok(popped) => Ok(popped),
            Err(HotError::NoGroup) => {
                self.hot.create_group(self.stream).await?;
                ">".clone_into(&mut self.from);
                Ok(Popped::default())
            }
            Err(error) => {
                self.connection = None;
                "0-0".clone_into(&mut self.from);
                Err(error)
            }
        }
    }

    async fn read(&mut self, count: usize, wait: Duration) -> Result<Popped, HotError> {
        let timeout = wait + self.hot.timeout;
        let mut command = redis::cmd("XREADGROUP");
        command.arg("GROUP").arg(self.stream.group()).arg(&self.name).arg("COUNT").arg(count);
        command.arg("BLOCK").arg(wait.as_millis().max(1)).arg("STREAMS");
        command.arg(self.stream.key(&self.hot.keys)).arg(&self.from);
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.hot.connection_for_blocking().await?),
        };
        let answer = tokio::time::timeout(timeout, command.query_async::<Value>(connection))
            .await
            .map_err(|_| HotError::Timeout)?
            .map_err(HotError::from)?;
        let popped = read_streams(answer);
        if self.from != ">" {
            let last = popped.deliveries.last().map(|delivery| delivery.entry_id.clone());
            self.from = last.max(popped.gone.last().cloned()).unwrap_or_else(|| ">".into());
        }
        Ok(popped)
    }

    /// Takes over entries that another consumer has had for `idle` without acknowledging them,
    /// together with how often each was delivered.
    pub async fn claim_batch(
        &mut self,
        idle: Duration,
        count: usize,
    ) -> Result<(Popped, HashMap<String, u64>), HotError> {
        let stream = self.stream;
        let claimed: (String, Value, Vec<String>) = self
            .hot
            .call(async |connection| {
                redis::cmd("XAUTOCLAIM")
                    .arg(stream.key(&self.hot.keys))
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
        let (next, entries, gone) = claimed;
        self.claim_from = next;
        let mut popped = read_entries(entries);
        popped.gone.extend(gone);
        let deliveries = self.count_deliveries(&popped.deliveries).await?;
        Ok((popped, deliveries))
    }

    async fn count_deliveries(
        &self,
        claimed: &[Delivery],
    ) -> Result<HashMap<String, u64>, HotError> {
        let (Some(first), Some(last)) = (claimed.first(), claimed.last()) else {
            return Ok(HashMap::new());
        };
        let rows: Vec<(String, String, u64, u64)> = self
            .hot
            .call(async |connection| {
                redis::cmd("XPENDING")
                    .arg(self.stream.key(&self.hot.keys))
                    .arg(self.stream.group())
                    .arg(&first.entry_id)
                    .arg(&last.entry_id)
                    .arg(claimed.len().saturating_mul(2))
                    .arg(&self.name)
                    .query_async(connection)
                    .await
            })
            .await?;
        Ok(rows.into_iter().map(|(id, _, _, times)| (id, times)).collect())
    }
}
