//! Counts the items in a queue by epoch, for the audit and for the detection of data loss. A new
//! epoch begins after Redis has lost data.

use mayfly_core::{EntryId, message::MessageView, plays::PlaysView, stream as entry};
use uuid::Uuid;

use crate::{
    connection::HotError,
    queue::{Ledger, Queue, Stream, entries::PAGE_ENTRIES},
};

/// The maximum number of entries that one round trip reads with their fields, which can be large.
const PAGE_BODIES: usize = 64;

/// The unacknowledged items of a queue. They are read in several round trips, so they are not an
/// atomic snapshot.
#[derive(Debug, Clone, Default)]
pub struct QueueContents {
    /// The number of items from the requested epoch that have not been delivered.
    pub undelivered: u64,
    /// The entries from the requested epoch that have been delivered but not acknowledged.
    pub pending: Vec<PendingEntry>,
    /// The number of unacknowledged items from earlier epochs.
    pub earlier: u64,
}

/// An entry that has been delivered but not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingEntry {
    /// The ID in the payload: the ID of the message, or the ID that was generated for the plays.
    pub id: Uuid,
    /// The number of items in the entry.
    pub items: u64,
}

/// The field names and values of an entry. They are bytes, because another program can write
/// invalid UTF-8.
type Fields = Vec<(Vec<u8>, Vec<u8>)>;

impl Ledger<'_> {
    /// Counts the items from an epoch in the entries that follow `entry_id` in a stream. O(n) for n
    /// following entries.
    pub async fn count_after(
        self,
        stream: Stream,
        epoch: &str,
        entry_id: &str,
    ) -> Result<u64, HotError> {
        let from = format!("({entry_id}");
        let queue = self.store.queue();
        let contents = queue.count_from(stream, epoch, from, QueueContents::default()).await?;
        Ok(contents.undelivered)
    }

    /// Counts the unacknowledged items in a queue. `epoch` must be the current epoch. O(n) for n
    /// unacknowledged entries, so this function is intended for operator tools, not for serving
    /// requests.
    pub async fn count_queue(self, stream: Stream, epoch: &str) -> Result<QueueContents, HotError> {
        let queue = self.store.queue();
        let mut contents = QueueContents::default();
        let Some(delivered) = queue.find_last_delivered(stream).await? else {
            return queue.count_from(stream, epoch, "-".into(), contents).await;
        };
        // Skip entries that were delivered after `delivered` was read, because `count_from` counts
        // them as undelivered.
        let last = delivered.parse::<EntryId>().ok();
        let is_earlier =
            |id: &String| last.is_none_or(|last| id.parse::<EntryId>().is_ok_and(|id| id <= last));
        for entry_id in queue.list_pending(stream).await?.into_iter().filter(is_earlier) {
            for (_, fields) in queue.read_range::<Fields>(stream, &entry_id, &entry_id, 1).await? {
                match EntryItems::parse(stream, &fields) {
                    Some(entry) if entry.epoch == epoch => {
                        contents.pending.push(PendingEntry { id: entry.id, items: entry.items });
                    }
                    Some(entry) => contents.earlier += entry.items,
                    None => {}
                }
            }
        }
        queue.count_from(stream, epoch, format!("({delivered}"), contents).await
    }

    /// Returns whether the oldest pending or the oldest undelivered entry of a stream belongs to an
    /// epoch before `epoch`, which must be the current epoch. O(log n) for n entries.
    pub async fn has_earlier_entries(self, stream: Stream, epoch: &str) -> Result<bool, HotError> {
        let queue = self.store.queue();
        let (pending, from) = match queue.find_last_delivered(stream).await? {
            Some(delivered) => (queue.read_pending(stream, "-", 1).await?, format!("({delivered}")),
            None => (Vec::new(), "-".to_owned()),
        };
        let mut oldest = queue.read_range::<Fields>(stream, &from, "+", 1).await?;
        for entry_id in &pending {
            oldest.extend(queue.read_range::<Fields>(stream, entry_id, entry_id, 1).await?);
        }
        let is_earlier = |(_, fields): &(String, Fields)| {
            find_meta(fields).is_some_and(|meta| meta.epoch != epoch)
        };
        Ok(oldest.iter().any(is_earlier))
    }
}

impl Queue<'_> {
    async fn count_from(
        self,
        stream: Stream,
        epoch: &str,
        mut from: String,
        mut contents: QueueContents,
    ) -> Result<QueueContents, HotError> {
        loop {
            let entries = self.read_range::<Fields>(stream, &from, "+", PAGE_BODIES).await?;
            let Some((last, _)) = entries.last() else {
                return Ok(contents);
            };
            from = format!("({last}");
            for (_, fields) in &entries {
                match EntryItems::parse(stream, fields) {
                    Some(entry) if entry.epoch == epoch => contents.undelivered += entry.items,
                    Some(entry) => contents.earlier += entry.items,
                    None => {}
                }
            }
        }
    }

    async fn list_pending(self, stream: Stream) -> Result<Vec<String>, HotError> {
        let mut ids = Vec::new();
        let mut from = "-".to_owned();
        loop {
            let page = self.read_pending(stream, &from, PAGE_ENTRIES).await?;
            let Some(last) = page.last() else {
                return Ok(ids);
            };
            from = format!("({last}");
            ids.extend(page);
        }
    }
}

/// The epoch, payload ID and number of items of an entry.
struct EntryItems {
    epoch: String,
    id: Uuid,
    items: u64,
}

impl EntryItems {
    /// Parses an entry. Returns `None` if the entry contains no valid items of this stream or no
    /// metadata.
    fn parse(stream: Stream, fields: &Fields) -> Option<Self> {
        let field = |wanted: &str| {
            let mut fields = fields.iter();
            let found = fields.find(|(name, _)| name == wanted.as_bytes());
            found.map(|(_, value)| value.as_slice())
        };
        let (id, items) = match stream {
            Stream::Messages => {
                (MessageView::from_json(field(entry::MESSAGE_V1)?).ok()?.id.as_uuid(), 1)
            }
            Stream::Plays => {
                let plays = PlaysView::from_json(field(entry::PLAYS_V1)?).ok()?;
                (plays.id, plays.plays.len() as u64)
            }
        };
        Some(Self { epoch: find_meta(fields)?.epoch, id, items })
    }
}

fn find_meta(fields: &Fields) -> Option<entry::Meta> {
    let meta = fields.iter().find(|(name, _)| name == entry::META.as_bytes());
    meta.map(|(_, value)| entry::Meta::parse(&String::from_utf8_lossy(value)))
}
