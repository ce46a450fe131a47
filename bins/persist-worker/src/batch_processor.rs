//! Stores, retries or dead-letters every entry. Acknowledges an entry after it has been stored or
//! dead-lettered.
//!
//! Processing can be interrupted at any point. An unacknowledged entry stays pending, and a worker
//! claims it later and processes it again. If the entry has already been committed to Postgres, it
//! is not stored or counted again.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use mayfly_cold::{ColdError, ColdStore, EntryOutcome};
use mayfly_core::{Clock, Consumption, StoreError, Timestamp};
use mayfly_hot::{Delivery, HotStore};
use mayfly_runtime::Settings;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::{
    metrics as names,
    outages::WorkerOutages,
    stream_handler::{EntryGroup, StreamHandler, group_by_epoch},
};

/// The error returned when a worker shuts down while Postgres or Redis is unavailable. Entries that
/// the worker has not acknowledged stay pending.
#[derive(Debug, thiserror::Error)]
#[error("the worker is shutting down while a store is unavailable")]
pub struct ShuttingDown;

/// The maximum number of rejected entries that are kept in memory for an early retry. All rejected
/// entries stay pending. Entries that are not kept are retried only when a worker claims them.
const REJECTED_ENTRIES_MAX: usize = 1_000;
/// The limit on the total size of the rejected entries that are kept in memory, in bytes. The last
/// entry can make the total exceed the limit.
const REJECTED_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The initial pause between two attempts while a store is unavailable. The pause doubles after
/// each attempt, up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

struct RejectedEntry {
    delivery: Delivery,
    retry_at: Instant,
}

/// A processor for the entries that are delivered to one consumer.
pub struct BatchProcessor<H> {
    handler: H,
    hot: HotStore,
    cold: ColdStore,
    settings: Arc<Settings>,
    draining: CancellationToken,
    outages: WorkerOutages,
    rejected: Vec<RejectedEntry>,
}

impl<H: StreamHandler> BatchProcessor<H> {
    /// Creates a processor that handles entries with `handler`.
    pub fn new(
        handler: H,
        hot: HotStore,
        cold: ColdStore,
        settings: Arc<Settings>,
        draining: CancellationToken,
        outages: WorkerOutages,
    ) -> Self {
        Self { handler, hot, cold, settings, draining, outages, rejected: Vec::new() }
    }

    /// Processes a batch. Entries that have been delivered at least `queue.deliveries_max` times,
    /// according to `delivery_counts`, are processed last and individually. If one of these entries
    /// crashes the worker, the entries below the limit have already been processed.
    pub async fn process(
        &mut self,
        deliveries: &[Delivery],
        delivery_counts: &HashMap<String, u64>,
    ) -> Result<(), ShuttingDown> {
        let deliveries_max = self.settings.queue.deliveries_max;
        let suspects: HashSet<&str> = delivery_counts
            .iter()
            .filter(|(_, count)| **count >= deliveries_max)
            .map(|(entry_id, _)| entry_id.as_str())
            .collect();
        let (suspects, others): (Vec<_>, Vec<_>) =
            deliveries.iter().partition(|delivery| suspects.contains(delivery.entry_id.as_str()));
        self.process_together(others).await?;
        for delivery in suspects {
            self.process_individually(delivery).await?;
        }
        Ok(())
    }

    /// Acknowledges pending entries that no longer exist in the stream.
    pub async fn ack_missing(&self, missing: &[String]) -> Result<(), ShuttingDown> {
        if missing.is_empty() {
            return Ok(());
        }
        warn!(
            stream = H::STREAM.name(),
            entries = missing.len(),
            "pending entries were deleted from the stream before they were acknowledged; entries \
             that had not been stored are lost"
        );
        let ids: Vec<&str> = missing.iter().map(String::as_str).collect();
        self.retry_until_shutdown(async || self.handler.ack_missing(&ids).await).await
    }

    /// Returns the rejected entries that wait for an early retry.
    pub fn rejected(&self) -> impl Iterator<Item = &Delivery> {
        self.rejected.iter().map(|entry| &entry.delivery)
    }

    /// Schedules an early retry of a rejected entry, unless too many rejected entries are already
    /// kept.
    pub fn keep_for_retry(&mut self, delivery: &Delivery) {
        let bytes: usize = self.rejected().map(H::size).sum();
        if self.rejected.len() < REJECTED_ENTRIES_MAX && bytes < REJECTED_BYTES_MAX {
            let retry_at = Instant::now() + self.settings.persist.retry_after;
            self.rejected.push(RejectedEntry { delivery: delivery.clone(), retry_at });
        }
    }

    /// Retries the rejected entries that are due.
    pub async fn retry_rejected(&mut self) -> Result<(), ShuttingDown> {
        let now = Instant::now();
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.rejected).into_iter().partition(|entry| entry.retry_at <= now);
        self.rejected = later;
        for entry in &due {
            self.process_individually(&entry.delivery).await?;
        }
        Ok(())
    }

    async fn process_together(&mut self, deliveries: Vec<&Delivery>) -> Result<(), ShuttingDown> {
        let (groups, invalid) = group_by_epoch::<H>(deliveries);
        for group in groups {
            match self.store(&group).await? {
                Some(outcome) => self.acknowledge(&group, &outcome).await?,
                None => {
                    for (delivery, _) in &group.entries {
                        self.process_individually(delivery).await?;
                    }
                }
            }
        }
        for entry in invalid {
            self.dead_letter(entry.delivery, entry.reason, 0).await?;
        }
        Ok(())
    }

    /// Stores a group of entries. Returns `None` if Postgres rejects the group.
    async fn store(
        &self,
        group: &EntryGroup<'_, H::Batch<'_>>,
    ) -> Result<Option<H::Outcome>, ShuttingDown> {
        let started = Instant::now();
        let result = self
            .retry_until_shutdown(async || match self.handler.store(&group.batch).await {
                Err(ColdError::Rejected(error)) => Ok(Err(error)),
                other => other.map(Ok),
            })
            .await?;
        metrics::histogram!(names::STORE_DURATION_SECONDS).record(started.elapsed());
        metrics::histogram!(names::BATCH_ENTRIES)
            .record(u32::try_from(group.entries.len()).unwrap_or(u32::MAX));
        match result {
            Ok(outcome) => Ok(Some(outcome)),
            Err(error) => {
                if let Some(suppressed) = self.outages.rejections.take() {
                    warn!(
                        stream = H::STREAM.name(),
                        entries = group.entries.len(),
                        %error,
                        suppressed,
                        "Postgres rejected a batch; retrying its entries individually"
                    );
                }
                Ok(None)
            }
        }
    }

    async fn process_individually(&mut self, delivery: &Delivery) -> Result<(), ShuttingDown> {
        let (groups, invalid) = group_by_epoch::<H>([delivery]);
        if let Some(entry) = invalid.into_iter().next() {
            return self.dead_letter(delivery, entry.reason, 0).await;
        }
        for group in groups {
            let outcome = self
                .retry_until_shutdown(async || {
                    match self.handler.try_store(&group.batch).await {
                        // Postgres rejected a parameter before it called the function.
                        Err(ColdError::Rejected(error)) => {
                            Ok(EntryOutcome::Rejected(error.to_string()))
                        }
                        other => other,
                    }
                })
                .await?;
            match outcome {
                EntryOutcome::Stored(outcome) => {
                    self.acknowledge(&group, &outcome).await?;
                }
                EntryOutcome::Rejected(reason) => {
                    self.record_rejection(delivery, reason).await?;
                }
            }
        }
        Ok(())
    }

    /// Counts a failed attempt to store an entry. Dead-letters the entry if it has reached the
    /// maximum number of attempts. Otherwise, schedules an early retry, unless too many rejected
    /// entries are already kept.
    async fn record_rejection(
        &mut self,
        delivery: &Delivery,
        reason: String,
    ) -> Result<(), ShuttingDown> {
        let entry_id = &delivery.entry_id;
        let attempts = self
            .retry_until_shutdown(async || {
                self.hot.queue().count_attempt(H::STREAM, entry_id).await
            })
            .await?;
        if attempts >= self.settings.queue.attempts_max {
            let attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
            self.dead_letter(delivery, reason, attempts).await?;
            return self
                .retry_until_shutdown(async || {
                    self.hot.queue().clear_attempts(H::STREAM, entry_id).await
                })
                .await;
        }
        if let Some(suppressed) = self.outages.rejections.take() {
            warn!(
                entry.id = entry_id,
                request.id = delivery.meta.request_id,
                trace.parent = delivery.meta.traceparent,
                attempts,
                reason,
                suppressed,
                "Postgres rejected an entry; retrying it later"
            );
        }
        self.keep_for_retry(delivery);
        Ok(())
    }

    /// Stores an entry as a dead letter, then acknowledges it. If Postgres rejects the dead letter,
    /// the entry stays pending without blocking other entries, and is processed again when a worker
    /// claims it.
    async fn dead_letter(
        &self,
        delivery: &Delivery,
        reason: String,
        attempts: u32,
    ) -> Result<(), ShuttingDown> {
        if let Some(suppressed) = self.outages.rejections.take() {
            error!(
                entry.id = delivery.entry_id,
                entry.kind = delivery.kind,
                request.id = delivery.meta.request_id,
                trace.parent = delivery.meta.traceparent,
                attempts,
                reason,
                suppressed,
                "an entry cannot be stored; storing it as a dead letter"
            );
        }
        let letter = H::to_dead_letter(delivery, reason, attempts);
        let timeout = self.settings.persist.statement_timeout;
        let inserted = self
            .retry_until_shutdown(async || {
                match self.cold.dead_letters().insert(&letter, timeout).await {
                    Err(error) if error.is_rejection() => Ok(Err(error)),
                    other => other.map(Ok),
                }
            })
            .await?;
        self.outages.dead_letters.record(&delivery.entry_id, &inserted);
        let Ok(is_expired) = inserted else { return Ok(()) };
        self.retry_until_shutdown(async || {
            self.handler.acknowledge_dead_letter(delivery, &letter, is_expired).await
        })
        .await
    }

    async fn acknowledge(
        &self,
        group: &EntryGroup<'_, H::Batch<'_>>,
        outcome: &H::Outcome,
    ) -> Result<(), ShuttingDown> {
        self.retry_until_shutdown(async || self.handler.acknowledge(group, outcome).await).await?;
        let new = H::count_new(group, outcome);
        metrics::counter!(names::STORED_TOTAL, "kind" => H::STREAM.name()).increment(new);
        let consumption = record_wait_times(&group.entries, self.hot.clock().now());
        // Do not retry on failure, because the wait times are used only for reports.
        let reported = self.hot.queue().record_consumption(H::STREAM, &consumption).await;
        self.outages.report.record(&reported);
        Ok(())
    }

    /// Retries an operation with exponential backoff until it succeeds or the worker shuts down.
    async fn retry_until_shutdown<T, E: std::error::Error>(
        &self,
        mut operation: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T, ShuttingDown> {
        let mut backoff = BACKOFF_MIN;
        loop {
            let error = match operation().await {
                Ok(value) => {
                    self.outages.process.record_success();
                    return Ok(value);
                }
                Err(error) => error,
            };
            self.outages.process.record_failure(&error);
            if self.draining.run_until_cancelled(tokio::time::sleep(backoff)).await.is_none() {
                return Err(ShuttingDown);
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }
}

/// Records in the metrics how long each entry waited until `now`, and logs each entry at `debug`.
/// Returns the wait times, weighted by the number of items in each entry.
fn record_wait_times(entries: &[(&Delivery, u64)], now: Timestamp) -> Consumption {
    let wait_seconds = metrics::histogram!(names::QUEUE_WAIT_SECONDS);
    let mut consumption = Consumption::default();
    for (delivery, items) in entries {
        let wait = now.since(delivery.arrived_at());
        wait_seconds.record(wait);
        if *items > 0 {
            consumption.add(now, u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), *items);
        }
        debug!(
            entry.id = delivery.entry_id,
            request.id = delivery.meta.request_id,
            trace.parent = delivery.meta.traceparent,
            "stored and acknowledged an entry"
        );
    }
    consumption
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;
    use uuid::Uuid;

    use super::*;
    use crate::{
        stream_handler::plays::PlayHandler,
        test_stores::{TIMEOUT, TestStores, plays},
    };

    fn processor(stores: &TestStores) -> BatchProcessor<PlayHandler> {
        let (hot, cold) = (stores.hot.clone(), stores.cold.clone());
        let handler = PlayHandler::new(hot.clone(), cold.clone(), TIMEOUT);
        let (settings, draining) = (Arc::new(stores.settings.clone()), CancellationToken::new());
        BatchProcessor::new(handler, hot, cold, settings, draining, WorkerOutages::new())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn entry_with_a_parameter_that_postgres_rejects_does_not_block_others() {
        let stores = TestStores::create("rejected_parameter").await;
        let id = Uuid::now_v7();
        let bodies = [plays(Uuid::now_v7()), plays(id)];
        let bodies = bodies.each_ref().map(String::as_str);
        let mut deliveries = stores.deliver_plays("one", &bodies).await;
        // Postgres rejects U+0000 before it calls the function that counts the plays.
        "\0".clone_into(&mut deliveries[0].meta.epoch);
        "e".clone_into(&mut deliveries[1].meta.epoch);
        let (mut processor, first_delivery) = (processor(&stores), HashMap::new());
        let processing = Box::pin(processor.process(&deliveries, &first_delivery));
        let processed = timeout(TIMEOUT, processing).await.expect("no entry blocks the others");
        processed.expect("the process is not draining");
        let counted = stores.cold.plays().find_processed(&[id]).await.expect("a reply");
        assert!(counted.contains(&id));
        assert_eq!(processor.rejected.len(), 1, "the other entry is retried");
    }
}
