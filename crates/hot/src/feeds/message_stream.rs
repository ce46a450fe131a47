//! The message stream, which subscribers read to fill gaps and to resume.

use std::collections::HashMap;

use deadpool_redis::redis::{self, Value};
use mayfly_core::{EntryId, LiveEntry, LiveEvent, Position, frame::ResumeFailure};

use crate::{
    connection::{HotError, HotStore},
    queue::{Stream, parse_entries},
};

/// An entry in the message stream.
#[derive(Debug, Clone)]
pub struct StreamEntry {
    /// The entry ID.
    pub id: EntryId,
    /// The [`epoch`](crate::Keys::epoch) in which the entry was written.
    pub epoch: String,
    /// The entry as subscribers receive it; `None` if the entry has an unknown format.
    pub entry: Option<LiveEntry>,
}

/// Operations on the message stream for subscribers.
#[derive(Clone, Copy)]
pub struct MessageStream<'a> {
    store: &'a HotStore,
}

impl HotStore {
    /// Returns the operations on the message stream for subscribers.
    #[must_use]
    pub fn message_stream(&self) -> MessageStream<'_> {
        MessageStream { store: self }
    }
}

impl MessageStream<'_> {
    /// Begins an epoch if none exists. Returns the position of the newest entry, or the start of
    /// the stream if this call began the epoch or no entry has been written.
    pub async fn find_position(self) -> Result<Position, HotError> {
        let ledger = self.store.ledger().find_or_begin(Stream::Messages).await?;
        let entry = ledger.newest.and_then(|id| id.parse().ok()).unwrap_or(EntryId::START);
        Ok(Position::new(ledger.epoch, entry))
    }

    /// Returns at most `count` entries, starting at `from` (inclusive).
    pub async fn read(self, from: EntryId, count: usize) -> Result<Vec<StreamEntry>, HotError> {
        let reply: Value = self
            .store
            .call(async |connection| {
                redis::cmd("XRANGE")
                    .arg(self.store.keys.messages())
                    .arg(from.to_string())
                    .arg("+")
                    .arg("COUNT")
                    .arg(count)
                    .query_async(connection)
                    .await
            })
            .await?;
        let entries = parse_entries(reply).deliveries.into_iter().filter_map(|delivery| {
            let id: EntryId = delivery.entry_id.parse().ok()?;
            let event = delivery.entry.ok();
            let event = event.and_then(|entry| LiveEvent::from_entry(entry, &delivery.channels));
            let request_id = delivery.meta.request_id.into();
            let entry = event.map(|event| LiveEntry { id, request_id, event });
            Some(StreamEntry { id, epoch: delivery.meta.epoch, entry })
        });
        Ok(entries.collect())
    }

    /// Returns at most `count` entries that follow the entry `after`. Returns `None` if the stream
    /// does not contain `after`, because entries that follow `after` may be missing too. The start
    /// of the stream always counts as contained. An entry that an operator deleted counts as
    /// contained while older entries exist.
    pub async fn read_after(
        self,
        after: EntryId,
        count: usize,
    ) -> Result<Option<Vec<StreamEntry>>, HotError> {
        if after == EntryId::START {
            return self.read(after, count).await.map(Some);
        }
        let mut found = self.read(after, count + 1).await?;
        if found.first().is_some_and(|first| first.id == after) {
            found.remove(0);
        } else if !self.is_deleted(after).await? {
            return Ok(None);
        }
        found.truncate(count);
        Ok(Some(found))
    }

    /// Returns whether the stream contains `entry`. A deleted entry counts as contained under the
    /// condition that [`Self::read_after`] describes.
    pub async fn has_entry(self, entry: EntryId) -> Result<bool, HotError> {
        Ok(self.read_after(entry, 0).await?.is_some())
    }

    /// Returns whether an operator deleted `entry`, which is missing. The entry was not trimmed if
    /// older entries exist, and it was not lost if this entry or a later entry was deleted.
    async fn is_deleted(self, entry: EntryId) -> Result<bool, HotError> {
        let first = self.read(EntryId::START, 1).await?;
        if first.first().is_none_or(|first| entry < first.id) {
            return Ok(false);
        }
        let last_deleted = self.store.queue().find_last_deleted(Stream::Messages).await?;
        Ok(last_deleted.is_some_and(|deleted| entry <= deleted))
    }

    /// Returns why `entry` is missing. The entry was trimmed if all remaining entries are newer,
    /// and lost otherwise.
    pub async fn find_loss(self, entry: EntryId) -> Result<ResumeFailure, HotError> {
        let first = self.read(EntryId::START, 1).await?;
        let is_trimmed = first.first().is_none_or(|first| entry < first.id);
        Ok(if is_trimmed { ResumeFailure::Window } else { ResumeFailure::DataLost })
    }

    /// Returns whether the stream still contains every entry that has ever been added.
    pub async fn has_first_entry(self) -> Result<bool, HotError> {
        let info = self
            .store
            .call(async |connection| {
                redis::cmd("XINFO")
                    .arg("STREAM")
                    .arg(self.store.keys.messages())
                    .query_async::<HashMap<String, Value>>(connection)
                    .await
            })
            .await;
        match info {
            Ok(info) => Ok(info.get("length") == info.get("entries-added")),
            // The stream does not exist, usually because no entry has been written yet.
            Err(error) if error.is_missing_key() => Ok(true),
            Err(error) => Err(error),
        }
    }
}
