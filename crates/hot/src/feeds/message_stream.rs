//! The message stream as subscribers read it: to fill gaps and to resume.

use std::collections::HashMap;

use deadpool_redis::redis::{self, Value};
use mayfly_core::{EntryId, LiveEntry, LiveEvent, Position, frame::ResumeFailure};

use crate::{
    connection::{HotError, HotStore},
    queue::{Stream, parse_entries},
};

/// An entry of the message stream.
#[derive(Debug, Clone)]
pub struct StreamEntry {
    /// The entry ID.
    pub id: EntryId,
    /// The epoch in which it was written.
    pub epoch: String,
    /// The event for subscribers; `None` if the entry has an unknown format.
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
    /// Returns the position of the newest entry. Begins an epoch if there is none.
    pub async fn find_position(self) -> Result<Position, HotError> {
        let ledger = self.store.ledger().find_or_begin(Stream::Messages).await?;
        let entry = ledger.newest.and_then(|id| id.parse().ok()).unwrap_or(EntryId::START);
        Ok(Position::new(ledger.epoch, entry))
    }

    /// Reads at most `count` entries, starting at `from` inclusively.
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

    /// Returns whether the stream contains an entry.
    pub async fn has_entry(self, entry: EntryId) -> Result<bool, HotError> {
        let found = self.read(entry, 1).await?;
        Ok(found.first().is_some_and(|found| found.id == entry))
    }

    /// Returns why an entry is missing: it was trimmed if all remaining entries are newer, and lost
    /// otherwise.
    pub async fn find_loss(self, entry: EntryId) -> Result<ResumeFailure, HotError> {
        let first = self.read(EntryId::START, 1).await?;
        let is_trimmed = first.first().is_none_or(|first| entry < first.id);
        Ok(if is_trimmed { ResumeFailure::Window } else { ResumeFailure::DataLost })
    }

    /// Returns whether no entry was ever trimmed.
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
            // Nothing was ever written.
            Err(error) if error.is_missing_key() => Ok(true),
            Err(error) => Err(error),
        }
    }
}
