//! Gives every entry its outcome: stored, refused and to be tried again, or a dead letter; then, and
//! only then, acknowledges it.
//!
//! Cut off at any point, an entry is either still pending, and another worker does it again without
//! effect where it was done, or it has its outcome in Postgres and is acknowledged by that worker.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use mayfly_cold::{Cold, ColdError, Tried};
use mayfly_core::{Clock, Consumption, SystemClock};
use mayfly_hot::{Delivery, Hot, HotError, Stream};
use mayfly_runtime::{Settings, metrics as names};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::work::{Group, Work, sort};

/// The worker is to leave while Postgres or Redis is away: what it has stays pending.
#[derive(Debug, thiserror::Error)]
#[error("told to leave while something is away")]
pub struct CutShort;

/// Entries that Postgres refused and that are tried again soon; beyond this many, they are left
/// pending and come back when they are claimed.
const REFUSED_HELD_MAX: usize = 1_000;
/// The pause between two tries while Postgres or Redis is away: it doubles from the first to the
/// second.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(1);

struct Refused {
    delivery: Delivery,
    due: Instant,
}

/// Settles deliveries.
pub struct Settler<W> {
    work: W,
    hot: Hot,
    cold: Cold,
    settings: Arc<Settings>,
    draining: CancellationToken,
    refused: Vec<Refused>,
}

impl<W: Work> Settler<W> {
    /// A settler of this work, between the two stores.
    pub fn new(
        work: W,
        hot: Hot,
        cold: Cold,
        settings: Arc<Settings>,
        draining: CancellationToken,
    ) -> Self {
        Self { work, hot, cold, settings, draining, refused: Vec::new() }
    }

    /// Settles what was delivered. Entries that were `delivered` too often without an outcome are
    /// tried alone, so that one which kills its worker takes no others with it.
    pub async fn settle(
        &mut self,
        deliveries: &[Delivery],
        delivered: &HashMap<String, u64>,
        consumer: &Touch<'_>,
    ) -> Result<(), CutShort> {
        let most = self.settings.queue.deliveries_max;
        let suspects: HashSet<&str> = delivered
            .iter()
            .filter(|(_, times)| **times >= most)
            .map(|(entry_id, _)| entry_id.as_str())
            .collect();
        let (alone, together): (Vec<_>, Vec<_>) =
            deliveries.iter().partition(|delivery| suspects.contains(delivery.entry_id.as_str()));
        self.settle_together(together, consumer).await?;
        for delivery in alone {
            self.settle_alone(delivery, consumer).await?;
        }
        Ok(())
    }

    /// Lets go of entries that are pending and no longer in the stream.
    pub async fn let_go(&self, gone: &[String]) -> Result<(), CutShort> {
        if gone.is_empty() {
            return Ok(());
        }
        warn!(entries = gone.len(), "entries were trimmed before they were settled");
        let ids: Vec<&str> = gone.iter().map(String::as_str).collect();
        self.patiently(&Touch::none(W::STREAM), async || self.work.let_go(&ids).await).await
    }

    /// Tries again what was refused, as far as its pause is over.
    pub async fn retry_refused(&mut self, consumer: &Touch<'_>) -> Result<(), CutShort> {
        let now = Instant::now();
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.refused).into_iter().partition(|refused| refused.due <= now);
        self.refused = later;
        for refused in due {
            self.settle_alone(&refused.delivery, consumer).await?;
        }
        Ok(())
    }

    async fn settle_together(
        &mut self,
        deliveries: Vec<&Delivery>,
        consumer: &Touch<'_>,
    ) -> Result<(), CutShort> {
        let (groups, unreadable) = sort::<W>(deliveries);
        for group in groups {
            let consumer = consumer.with(group.entry_ids());
            match self.store(&group, &consumer).await? {
                Some(stored) => self.acknowledge(&group, &stored, &consumer).await?,
                None => {
                    for (delivery, _) in &group.entries {
                        self.settle_alone(delivery, &consumer).await?;
                    }
                }
            }
        }
        for entry in unreadable {
            self.bury(entry.delivery, entry.reason, 0, consumer).await?;
        }
        Ok(())
    }

    /// Stores a group; nothing if Postgres refuses something in it.
    async fn store(
        &self,
        group: &Group<'_, W::Batch<'_>>,
        consumer: &Touch<'_>,
    ) -> Result<Option<W::Outcome>, CutShort> {
        let started = Instant::now();
        let answer = self
            .patiently(consumer, async || match self.work.store(&group.batch).await {
                Err(ColdError::Refused(error)) => Ok(Err(error)),
                other => other.map(Ok),
            })
            .await?;
        metrics::histogram!(names::STORE_SECONDS).record(started.elapsed());
        metrics::histogram!(names::BATCH_ENTRIES)
            .record(u32::try_from(group.entries.len()).unwrap_or(u32::MAX));
        match answer {
            Ok(stored) => Ok(Some(stored)),
            Err(error) => {
                warn!(entries = group.entries.len(), %error, "a batch was refused; trying each alone");
                Ok(None)
            }
        }
    }

    async fn settle_alone(
        &mut self,
        delivery: &Delivery,
        consumer: &Touch<'_>,
    ) -> Result<(), CutShort> {
        let (groups, unreadable) = sort::<W>([delivery]);
        if let Some(entry) = unreadable.into_iter().next() {
            return self.bury(delivery, entry.reason, 0, consumer).await;
        }
        for group in groups {
            let tried =
                self.patiently(consumer, async || self.work.try_store(&group.batch).await).await?;
            match tried {
                Tried::Stored(stored) => self.acknowledge(&group, &stored, consumer).await?,
                Tried::Refused(reason) => self.note_refusal(delivery, reason, consumer).await?,
            }
        }
        Ok(())
    }

    async fn note_refusal(
        &mut self,
        delivery: &Delivery,
        reason: String,
        consumer: &Touch<'_>,
    ) -> Result<(), CutShort> {
        let entry_id = &delivery.entry_id;
        let attempts = self
            .patiently(consumer, async || self.hot.count_attempt(W::STREAM, entry_id).await)
            .await?;
        warn!(
            entry.id = entry_id,
            request.id = delivery.meta.request_id,
            attempts,
            reason,
            "Postgres refused an entry"
        );
        if attempts >= self.settings.queue.attempts_max {
            let attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
            self.bury(delivery, reason, attempts, consumer).await?;
            return self
                .patiently(consumer, async || self.hot.forget_attempts(W::STREAM, entry_id).await)
                .await;
        }
        if self.refused.len() < REFUSED_HELD_MAX {
            let due = Instant::now() + self.settings.persist.retry_after;
            self.refused.push(Refused { delivery: delivery.clone(), due });
        }
        Ok(())
    }

    /// Puts an entry among the dead letters, then acknowledges it.
    async fn bury(
        &self,
        delivery: &Delivery,
        reason: String,
        attempts: u32,
        consumer: &Touch<'_>,
    ) -> Result<(), CutShort> {
        error!(
            entry.id = delivery.entry_id,
            entry.kind = delivery.kind,
            request.id = delivery.meta.request_id,
            attempts,
            reason,
            "an entry is a dead letter"
        );
        let letter = W::to_dead_letter(delivery, reason, attempts);
        let timeout = self.settings.persist.statement_timeout;
        let is_expired = self
            .patiently(consumer, async || self.cold.insert_dead_letter(&letter, timeout).await)
            .await?;
        self.patiently(consumer, async || {
            self.work.acknowledge_dead(delivery, &letter, is_expired).await
        })
        .await
    }

    async fn acknowledge(
        &self,
        group: &Group<'_, W::Batch<'_>>,
        outcome: &W::Outcome,
        consumer: &Touch<'_>,
    ) -> Result<(), CutShort> {
        self.patiently(consumer, async || self.work.acknowledge(group, outcome).await).await?;
        let stored = W::count_new(group, outcome);
        metrics::counter!(names::STORED_TOTAL, "kind" => W::STREAM.name()).increment(stored);
        let waits = note_waits(&group.entries);
        // For the pulse alone: nobody waits for it, and nothing is lost with it.
        if let Err(error) = self.hot.note_consumed(W::STREAM, &waits).await {
            debug!(%error, "cannot say how long entries waited");
        }
        Ok(())
    }

    /// Does something until it succeeds: what is away comes back. Meanwhile it says that this
    /// worker still is at its entries, so that nobody else takes them over.
    async fn patiently<T, E: std::error::Error>(
        &self,
        consumer: &Touch<'_>,
        mut act: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T, CutShort> {
        let mut pause = PAUSE_MIN;
        let mut touched_at = Instant::now();
        loop {
            let error = match act().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            if pause == PAUSE_MIN {
                warn!(%error, "cannot settle entries now; trying on");
            }
            if self.draining.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return Err(CutShort);
            }
            pause = (pause * 2).min(PAUSE_MAX);
            if touched_at.elapsed() > self.settings.queue.claim_after / 3 {
                touched_at = Instant::now();
                if let Err(error) = consumer.touch(&self.hot).await {
                    debug!(%error, "cannot say that entries are being worked on");
                }
            }
        }
    }
}

/// Notes how long entries waited; gives it by items.
fn note_waits(entries: &[(&Delivery, u64)]) -> Consumption {
    let now = SystemClock.now();
    let waits = metrics::histogram!(names::QUEUE_WAIT_SECONDS);
    let mut consumed = Consumption::default();
    for (delivery, items) in entries {
        let waited = now.since(delivery.arrived_at());
        waits.record(waited);
        if *items > 0 {
            consumed.add(now, u64::try_from(waited.as_millis()).unwrap_or(u64::MAX), *items);
        }
        debug!(
            entry.id = delivery.entry_id,
            request.id = delivery.meta.request_id,
            trace.parent = delivery.meta.traceparent,
            "settled"
        );
    }
    consumed
}

/// The entries that a worker is at, in its name.
pub struct Touch<'a> {
    stream: Stream,
    consumer: &'a str,
    entry_ids: Vec<&'a str>,
}

impl<'a> Touch<'a> {
    /// In the name of a consumer, no entries yet.
    pub fn of(stream: Stream, consumer: &'a str) -> Self {
        Self { stream, consumer, entry_ids: Vec::new() }
    }

    fn none(stream: Stream) -> Self {
        Self::of(stream, "")
    }

    fn with<'b>(&'b self, entry_ids: Vec<&'b str>) -> Touch<'b> {
        Touch { stream: self.stream, consumer: self.consumer, entry_ids }
    }

    async fn touch(&self, hot: &Hot) -> Result<(), HotError> {
        hot.touch(self.stream, self.consumer, &self.entry_ids).await
    }
}
