//! The stream as subscribers read it: what they missed, and where it ends.

use std::collections::HashMap;

use deadpool_redis::redis::{self, Value};
use mayfly_core::{EntryId, LiveEntry, LiveEvent, Position, frame::NotResumed};

use crate::{delivery::read_entries, error::HotError, pool::Hot, stream::Stream};

/// An entry of the stream, read for subscribers.
#[derive(Debug, Clone)]
pub struct LiveRow {
    /// Its place in the stream.
    pub id: EntryId,
    /// The epoch in which it was written.
    pub epoch: String,
    /// What it shows; nothing if it is of a newer version.
    pub entry: Option<LiveEntry>,
}

impl Hot {
    /// The newest point of the stream, in the present epoch; begins one if there is none.
    pub async fn find_newest(&self) -> Result<Position, HotError> {
        let ledger = self.ledger(Stream::Messages).await?;
        let entry = ledger.newest.and_then(|id| id.parse().ok()).unwrap_or(EntryId::START);
        Ok(Position::new(ledger.epoch, entry))
    }

    /// Reads at most `count` entries of the stream from `from` on, with it.
    pub async fn read_live(&self, from: EntryId, count: usize) -> Result<Vec<LiveRow>, HotError> {
        let answer: Value = self
            .call(async |connection| {
                redis::cmd("XRANGE")
                    .arg(self.keys.messages())
                    .arg(from.to_string())
                    .arg("+")
                    .arg("COUNT")
                    .arg(count)
                    .query_async(connection)
                    .await
            })
            .await?;
        let deliveries = read_entries(answer).deliveries.into_iter();
        let rows = deliveries.filter_map(|delivery| {
            let id: EntryId = delivery.entry_id.parse().ok()?;
            let event = delivery.entry.ok();
            let event = event.and_then(|entry| LiveEvent::of_entry(entry, &delivery.channels));
            let request_id = delivery.meta.request_id.into();
            let entry = event.map(|event| LiveEntry { id, request_id, event });
            Some(LiveRow { id, epoch: delivery.meta.epoch, entry })
        });
        Ok(rows.collect())
    }

    /// Whether this very entry stands in the stream.
    pub async fn has_entry(&self, entry: EntryId) -> Result<bool, HotError> {
        let found = self.read_live(entry, 1).await?;
        Ok(found.first().is_some_and(|row| row.id == entry))
    }

    /// Why an entry that once stood in the stream does not: it was trimmed if what is left is
    /// newer, and lost otherwise.
    pub async fn find_loss(&self, entry: EntryId) -> Result<NotResumed, HotError> {
        let first = self.read_live(EntryId::START, 1).await?;
        let is_trimmed = first.first().is_none_or(|first| entry < first.id);
        Ok(if is_trimmed { NotResumed::Window } else { NotResumed::DataLost })
    }

    /// Whether the stream still has its first entry, if it ever had one.
    pub async fn has_first_entry(&self) -> Result<bool, HotError> {
        let info = self
            .call(async |connection| {
                redis::cmd("XINFO")
                    .arg("STREAM")
                    .arg(self.keys.messages())
                    .query_async::<HashMap<String, Value>>(connection)
                    .await
            })
            .await;
        match info {
            Ok(info) => Ok(info.get("length") == info.get("entries-added")),
            // There is no stream: nothing was ever written.
            Err(HotError::Refused(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }
}
