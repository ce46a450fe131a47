//! Counting the items in a queue by epoch, for the audit.

use mayfly_core::{EntryId, message::MessageView, plays::PlaysView, stream as entry};
use uuid::Uuid;

use crate::{
    connection::HotError,
    queue::{Ledger, Queue, Stream, entries::PAGE_ENTRIES},
};

/// Entries read in one round trip with their fields, which may be large.
const PAGE_BODIES: usize = 64;

/// The unacknowledged items of a queue at one point in time.
#[derive(Debug, Clone, Default)]
pub struct QueueContents {
    /// Items of the given epoch that are not delivered.
    pub undelivered: u64,
    /// Entries of the given epoch that are delivered and not acknowledged.
    pub pending: Vec<PendingEntry>,
    /// Items of earlier epochs.
    pub earlier: u64,
}

/// An entry that is delivered and not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingEntry {
    /// The ID in its payload: the ID of a message, or of a request with plays.
    pub id: Uuid,
    /// Its number of items.
    pub items: u64,
}

/// The names and values of the fields of an entry. Another program may have written any bytes.
type Fields = Vec<(Vec<u8>, Vec<u8>)>;

impl Ledger<'_> {
    /// Counts the items of an epoch that follow an entry in a stream. O(n) for n entries.
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

    /// Counts the items in a queue. O(n) for n unacknowledged entries, which are all read: for an
    /// operator, not for a request.
    pub async fn count_queue(self, stream: Stream, epoch: &str) -> Result<QueueContents, HotError> {
        let queue = self.store.queue();
        let mut contents = QueueContents::default();
        let Some(delivered) = queue.find_last_delivered(stream).await? else {
            return queue.count_from(stream, epoch, "-".into(), contents).await;
        };
        // Entries that were delivered since then are counted below.
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

    /// Returns whether the oldest unacknowledged entry of a stream belongs to another epoch than
    /// this one, which is the current one. O(log n) for n entries.
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

/// The items of an entry.
struct EntryItems {
    epoch: String,
    id: Uuid,
    items: u64,
}

impl EntryItems {
    /// Parses an entry; `None` if it has no items of its stream.
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
