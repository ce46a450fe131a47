//! Follows the message stream through the process's Redis subscription, and fills gaps by reading
//! the stream.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use mayfly_core::{EntryId, LiveEntry, Position, Publication, StateFeed, frame::ResumeFailure};
use mayfly_hot::{
    EventSinks, HotError, HotStore, Publications, StreamEntry, Subscription as RedisSubscription,
};
use mayfly_runtime::{Component, OutageLog};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::sleep,
};
use tracing::{debug, error, info, warn};

use super::{
    state::{RECEIVED_STATES_MAX, follow_states, read_states},
    trends::{follow_trends, poll_trends},
};
use crate::{frames::Batch, hub::Hub, worker_event::WorkerEvent};

/// Interval between polls of the end of the stream. The second poll after a lost publication
/// detects the loss.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// The state keys are read on every 20th poll, that is, about every 5 seconds.
const POLLS_PER_STATE_READ: u64 = 20;
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Maximum number of polls that may detect a loss without a publication arriving in between. If
/// more polls detect a loss, the follower resubscribes.
const SILENT_POLLS_MAX: u32 = 8;
/// A batch that has reached this size accepts no more publications.
const BATCH_BYTES: usize = 256 * 1024;
/// Maximum number of entries in one read of the stream.
const PAGE_ENTRIES: usize = 64;

/// Follows the message stream and broadcasts new entries. Compares each publication with the
/// current position: forwards contiguous publications, drops duplicates, and fills gaps from the
/// stream.
pub(crate) struct StreamFollower {
    hub: Arc<Hub>,
    hot: HotStore,
    /// The position up to which entries have been broadcast or appended to a pending batch. `None`
    /// until the process has reached Redis for the first time.
    position: Option<Position>,
    /// Whether publications may have been missed because there was no subscription.
    was_interrupted: bool,
    malformed: OutageLog,
}

impl StreamFollower {
    pub(crate) fn new(hub: &Arc<Hub>) -> Self {
        let hot = hub.hot.clone();
        let malformed = OutageLog::new("decode publications (the stream is read instead)");
        Self { hub: Arc::clone(hub), hot, position: None, was_interrupted: true, malformed }
    }

    /// Follows the stream until the task is aborted. Reports to `component` whether the
    /// subscription is active. Returns only if a task that this method spawns exits.
    pub(crate) async fn run(self, component: Component) {
        let (newest_sender, newest) = watch::channel(None);
        let (state_sender, states) = mpsc::channel(RECEIVED_STATES_MAX);
        let (trends, snapshots) = Publications::open("trend snapshots");
        let sinks = EventSinks { states: state_sender.clone(), trends };
        let mut tasks = JoinSet::new();
        tasks.spawn(poll_stream(self.hot.clone(), newest_sender, state_sender));
        tasks.spawn(follow_states(Arc::clone(&self.hub), states));
        let malformed =
            OutageLog::new("decode published trend snapshots (malformed ones are skipped)");
        tasks.spawn(follow_trends(Arc::clone(&self.hub), snapshots, malformed.clone()));
        tasks.spawn(poll_trends(Arc::clone(&self.hub), malformed));
        tokio::select! {
            exited = tasks.join_next() => {
                error!(?exited, "stream follower: a task exited unexpectedly; exiting");
            }
            () = self.follow_subscriptions(newest, sinks, component) => {}
        }
    }

    /// Subscribes, and resubscribes whenever the subscription ends.
    async fn follow_subscriptions(
        mut self,
        newest: watch::Receiver<Option<Position>>,
        sinks: EventSinks,
        component: Component,
    ) {
        loop {
            self.was_interrupted = true;
            match self.hot.subscribe(sinks.clone()).await {
                Ok(subscription) => {
                    let error = self
                        .follow_subscription(subscription, newest.clone(), &sinks, &component)
                        .await;
                    debug!(%error, "the Redis subscription ended; resubscribing");
                    component.mark_down(error.to_string());
                }
                Err(error) => {
                    component.mark_down(error.to_string());
                    sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    /// Follows one subscription until it closes, it stops delivering publications, or a Redis read
    /// fails. Returns the cause as an error.
    async fn follow_subscription(
        &mut self,
        mut subscription: RedisSubscription,
        mut newest: watch::Receiver<Option<Position>>,
        sinks: &EventSinks,
        component: &Component,
    ) -> HotError {
        if let Err(error) = self.catch_up().await {
            sleep(RETRY_PAUSE).await;
            return error;
        }
        component.mark_up();
        self.was_interrupted = false;
        // An error can be ignored, because `poll_stream` reads the states again and logs failures.
        drop(read_states(&self.hot, &sinks.states).await);
        self.hub.host_registry.request_all();
        let (mut last_poll, mut silent_polls) = (None::<Position>, 0);
        loop {
            let outcome = tokio::select! {
                publication = subscription.next() => match publication {
                    Some(publication) => {
                        silent_polls = 0;
                        self.process_publications(publication, &mut subscription).await
                    }
                    None => return HotError::Unavailable("the subscription was closed".into()),
                },
                _ = newest.changed() => {
                    let poll = newest.borrow_and_update().clone();
                    let is_behind = last_poll.as_ref().is_some_and(|seen| self.is_behind(seen));
                    last_poll = poll;
                    match subscription.try_next() {
                        // The missing publication may be queued. If it was lost, the
                        // continuity check finds a gap.
                        Some(publication) => {
                            self.process_publications(publication, &mut subscription).await
                        }
                        None if is_behind => {
                            silent_polls += 1;
                            debug!("a publication was lost; reading the stream");
                            self.catch_up().await
                        }
                        None => Ok(()),
                    }
                }
            };
            if let Err(error) = outcome {
                return error;
            }
            if silent_polls > SILENT_POLLS_MAX {
                return HotError::Unavailable(
                    "the subscription is not delivering any publications".into(),
                );
            }
        }
    }

    fn is_behind(&self, newest: &Position) -> bool {
        self.position.as_ref().is_none_or(|at| at.epoch != newest.epoch || at.entry < newest.entry)
    }

    /// Processes a publication and the publications queued behind it, up to the size of one batch.
    async fn process_publications(
        &mut self,
        first: Bytes,
        subscription: &mut RedisSubscription,
    ) -> Result<(), HotError> {
        let (mut next, mut pending) = (Some(first), PendingBatch::default());
        while let Some(bytes) = next.take() {
            let parsed = Publication::parse(&bytes);
            self.malformed.record(&parsed);
            let Ok(publication) = parsed else {
                self.broadcast_pending(&mut pending).await;
                return self.catch_up().await;
            };
            log_entries(&publication.entries);
            match self.check_continuity(&publication) {
                Continuity::Contiguous => self.append(publication, &mut pending),
                Continuity::Duplicate => {}
                Continuity::Gap => {
                    self.broadcast_pending(&mut pending).await;
                    self.catch_up().await?;
                    if self.check_continuity(&publication) == Continuity::Contiguous {
                        self.append(publication, &mut pending);
                    }
                }
            }
            if pending.bytes < BATCH_BYTES {
                next = subscription.try_next();
            }
        }
        self.broadcast_pending(&mut pending).await;
        Ok(())
    }

    /// Compares a publication with the current position.
    fn check_continuity(&self, publication: &Publication) -> Continuity {
        let Some(at) = &self.position else { return Continuity::Gap };
        let Some(last) = publication.entries.last() else { return Continuity::Duplicate };
        if *at.epoch != *publication.epoch {
            return Continuity::Gap;
        }
        if last.id <= at.entry {
            Continuity::Duplicate
        } else if publication.before <= at.entry {
            Continuity::Contiguous
        } else {
            Continuity::Gap
        }
    }

    /// Appends the new entries of a contiguous publication to `pending` and advances the position.
    fn append(&mut self, publication: Publication, pending: &mut PendingBatch) {
        let Some(at) = &mut self.position else { return };
        pending.before.get_or_insert(at.entry);
        for entry in publication.entries {
            if entry.id > at.entry {
                at.entry = entry.id;
                pending.bytes += entry.bytes();
                pending.entries.push(entry);
            }
        }
    }

    async fn broadcast_pending(&mut self, pending: &mut PendingBatch) {
        let PendingBatch { before, entries, .. } = std::mem::take(pending);
        if let (Some(at), Some(before)) = (&self.position, before)
            && !entries.is_empty()
        {
            let before = Position { entry: before, ..at.clone() };
            let batch = Batch::encode(before, at.entry, entries, &self.hub.memory);
            self.hub.broadcast(WorkerEvent::Batch(Arc::new(batch))).await;
        }
    }

    /// Reads and broadcasts all entries after the current position. If there is no position yet,
    /// starts at the end of the stream.
    async fn catch_up(&mut self) -> Result<(), HotError> {
        let newest = self.hot.message_stream().find_position().await?;
        let Some(at) = self.position.clone() else {
            self.reposition(newest, None).await;
            return Ok(());
        };
        if at.epoch != newest.epoch {
            return self.change_epoch(&at, newest).await;
        }
        if newest.entry < at.entry {
            // Redis has lost its latest writes, for example in a restart.
            self.reposition(newest, Some(ResumeFailure::DataLost)).await;
            return Ok(());
        }
        if newest.entry > at.entry && !self.has_entry(at.entry).await? {
            // The subscription was down for longer than the resume window, or Redis lost the entry
            // at this position and has since accepted others.
            let reason = self.hot.message_stream().find_loss(at.entry).await?;
            warn!(
                reason = reason.as_str(),
                "stream follower: the stream no longer contains the last broadcast entry; clients \
                 may have missed messages"
            );
            self.reposition(at, Some(reason)).await;
        }
        self.read_up_to(&newest).await
    }

    /// Returns whether the stream still contains `entry`. Always returns true for the start of the
    /// stream.
    async fn has_entry(&self, entry: EntryId) -> Result<bool, HotError> {
        Ok(entry == EntryId::START || self.hot.message_stream().has_entry(entry).await?)
    }

    /// Reads and broadcasts the entries after the current position, at least up to `newest`. Stops
    /// before the first entry in a newer epoch.
    async fn read_up_to(&mut self, newest: &Position) -> Result<(), HotError> {
        while let Some(at) = self.position.clone()
            && at.entry < newest.entry
        {
            let mut page = self.hot.message_stream().read(next_id(at.entry), PAGE_ENTRIES).await?;
            // Epoch names sort in chronological order. A later poll handles entries in a newer
            // epoch.
            let newer_epoch = page.iter().position(|entry| *entry.epoch > *at.epoch);
            page.truncate(newer_epoch.unwrap_or(page.len()));
            if page.is_empty() {
                break;
            }
            self.broadcast_page(page).await;
        }
        Ok(())
    }

    /// Continues in the epoch of `newest`. If the subscription was interrupted, reports to clients
    /// that they may have missed messages.
    async fn change_epoch(&mut self, at: &Position, newest: Position) -> Result<(), HotError> {
        info!(epoch = &*newest.epoch, "Redis lost data; continuing in a new epoch");
        let missed = self.was_interrupted.then_some(ResumeFailure::DataLost);
        let mut from = Position { entry: at.entry, ..newest.clone() };
        // Entry IDs normally increase across epochs, so all new entries follow the old position. If
        // the clock was set back, new entries can also precede the old position.
        if newest.entry < at.entry {
            from.entry = self.find_entry_before_epoch(&newest).await?;
        }
        self.reposition(from, missed).await;
        self.read_up_to(&newest).await
    }

    /// Returns the ID of the last entry before the epoch of `newest`, or [`EntryId::START`] if the
    /// epoch contains the first entry in the stream. If the epoch has no entries, returns the ID in
    /// `newest`.
    async fn find_entry_before_epoch(&self, newest: &Position) -> Result<EntryId, HotError> {
        let is_in_epoch = |entry: &StreamEntry| *entry.epoch == *newest.epoch;
        if !self.hot.message_stream().read(newest.entry, 1).await?.first().is_some_and(is_in_epoch)
        {
            return Ok(newest.entry);
        }
        let mut before = EntryId::START;
        loop {
            let page = self.hot.message_stream().read(next_id(before), PAGE_ENTRIES).await?;
            if page.is_empty() {
                return Ok(newest.entry);
            }
            for entry in page {
                if is_in_epoch(&entry) {
                    return Ok(before);
                }
                before = entry.id;
            }
        }
    }

    async fn broadcast_page(&mut self, page: Vec<StreamEntry>) {
        let last = page.last().map(|entry| entry.id);
        let Some((at, last)) = self.position.as_mut().zip(last) else { return };
        let before = at.clone();
        at.entry = last;
        let entries: Vec<_> = page.into_iter().filter_map(|entry| entry.entry).collect();
        log_entries(&entries);
        let batch = Batch::encode(before, last, entries, &self.hub.memory);
        self.hub.broadcast(WorkerEvent::Batch(Arc::new(batch))).await;
    }

    async fn reposition(&mut self, position: Position, missed: Option<ResumeFailure>) {
        self.position = Some(position.clone());
        self.hub.broadcast(WorkerEvent::Repositioned(position, missed)).await;
    }
}

/// The relation of a publication to the current position.
#[derive(Debug, PartialEq, Eq)]
enum Continuity {
    /// The publication contains new entries, and no entries are missing before them.
    Contiguous,
    /// The publication contains no new entries.
    Duplicate,
    /// Entries are missing before the publication, the epoch differs, or there is no position yet.
    Gap,
}

/// Entries of contiguous publications that have not been broadcast.
#[derive(Default)]
struct PendingBatch {
    before: Option<EntryId>,
    entries: Vec<LiveEntry>,
    bytes: usize,
}

/// Polls the end of the stream and, less often, the state keys. Runs until the task is aborted.
async fn poll_stream(
    hot: HotStore,
    newest_sender: watch::Sender<Option<Position>>,
    state_sender: mpsc::Sender<(StateFeed, Bytes)>,
) {
    let outages = OutageLog::new("read the end of the stream");
    let state_outages = OutageLog::new("read the states of feeds");
    for number in 1_u64.. {
        sleep(POLL_INTERVAL).await;
        if number.is_multiple_of(POLLS_PER_STATE_READ) {
            state_outages.record(&read_states(&hot, &state_sender).await);
        }
        let position = hot.message_stream().find_position().await;
        outages.record(&position);
        if let Ok(newest) = position {
            newest_sender.send_replace(Some(newest));
        }
    }
}

/// Returns the smallest ID after `id`.
fn next_id(id: EntryId) -> EntryId {
    EntryId { number: id.number + 1, ..id }
}

/// Logs the request ID of every entry at `debug`, so that a request can be traced through the logs
/// of all services.
fn log_entries(entries: &[LiveEntry]) {
    if tracing::enabled!(tracing::Level::DEBUG) {
        for entry in entries {
            debug!(request.id = &*entry.request_id, entry.id = %entry.id, "received an entry");
        }
    }
}
