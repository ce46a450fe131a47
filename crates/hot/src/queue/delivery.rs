//! Stream entries as a consumer receives them.

use deadpool_redis::redis::Value;
use mayfly_core::{
    EntryId, Timestamp,
    stream::{CHANNELS, Entry, META, Meta, UnreadableEntry},
};

/// A parsed stream entry.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The entry ID: the time of arrival in milliseconds and a sequence number.
    pub entry_id: String,
    /// The name of the first field, which is the kind of the entry.
    pub kind: String,
    /// The decoded entry, or, if this version cannot decode the entry, the reason and the body.
    pub entry: Result<Entry, (UnreadableEntry, Vec<u8>)>,
    /// The epoch, request ID and trace context of the entry.
    pub meta: Meta,
    /// For an expiry, the channels of the expired messages, separated by spaces. Empty for other
    /// kinds.
    pub channels: String,
}

impl Delivery {
    /// Returns the time of arrival according to the Redis clock.
    #[must_use]
    pub fn arrived_at(&self) -> Timestamp {
        arrival_time(&self.entry_id)
    }
}

/// The result of reading or claiming entries once.
#[derive(Debug, Default)]
pub struct ReadBatch {
    /// The entries, in stream order.
    pub deliveries: Vec<Delivery>,
    /// The IDs of entries that were deleted from the stream before they were acknowledged.
    pub deleted: Vec<String>,
}

impl ReadBatch {
    /// Returns the greatest ID among the delivered and the deleted entries.
    pub(super) fn find_last_id(&self) -> Option<&str> {
        let delivered = self.deliveries.last().map(|delivery| delivery.entry_id.as_str());
        let ids = delivered.into_iter().chain(self.deleted.last().map(String::as_str));
        // In a string comparison, `1-10` would precede `1-9`.
        ids.max_by_key(|id| id.parse::<EntryId>().ok())
    }
}

/// Returns the time of arrival that an entry ID contains, or time zero if the ID is malformed.
pub(crate) fn arrival_time(entry_id: &str) -> Timestamp {
    let millis = entry_id.split('-').next().and_then(|millis| millis.parse().ok());
    Timestamp::from_millis(millis.unwrap_or(0))
}

/// Parses `[[stream, entries]]`, the reply to `XREADGROUP`. Moves the values instead of copying
/// them, because batches can be large.
pub(crate) fn parse_streams(reply: Value) -> ReadBatch {
    let Value::Array(streams) = reply else {
        // No entry arrived in time.
        return ReadBatch::default();
    };
    match streams.into_iter().next() {
        Some(Value::Array(mut stream)) if stream.len() == 2 => {
            parse_entries(stream.pop().unwrap_or(Value::Nil))
        }
        _ => ReadBatch::default(),
    }
}

pub(crate) fn parse_entries(entries: Value) -> ReadBatch {
    let mut batch = ReadBatch::default();
    let Value::Array(entries) = entries else {
        return batch;
    };
    batch.deliveries.reserve(entries.len());
    for entry in entries {
        let Value::Array(entry) = entry else { continue };
        let mut parts = entry.into_iter();
        let (Some(id), fields) = (parts.next().and_then(text), parts.next()) else { continue };
        match fields {
            Some(Value::Array(fields)) => batch.deliveries.push(parse_entry(id, fields)),
            _ => batch.deleted.push(id),
        }
    }
    batch
}

fn parse_entry(entry_id: String, fields: Vec<Value>) -> Delivery {
    let mut fields = fields.into_iter();
    let kind = fields.next().and_then(text).unwrap_or_default();
    let body = fields.next().and_then(bytes).unwrap_or_default();
    let (mut meta, mut channels) = (Meta::default(), String::new());
    while let Some(name) = fields.next().and_then(text) {
        let value = fields.next().and_then(text).unwrap_or_default();
        match name.as_str() {
            META => meta = Meta::parse(&value),
            CHANNELS => channels = value,
            _ => {}
        }
    }
    Delivery { entry_id, entry: Entry::decode(&kind, body), kind, meta, channels }
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

fn text(value: Value) -> Option<String> {
    bytes(value).and_then(|bytes| String::from_utf8(bytes).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_id_is_the_greatest_number() {
        let batch = |delivered: Option<&str>, deleted: &[&str]| ReadBatch {
            deliveries: delivered
                .map(|id| parse_entry(id.into(), Vec::new()))
                .into_iter()
                .collect(),
            deleted: deleted.iter().map(|&id| id.into()).collect(),
        };
        assert_eq!(batch(Some("1-10"), &["1-9"]).find_last_id(), Some("1-10"));
        assert_eq!(batch(Some("1-9"), &["1-8", "1-10"]).find_last_id(), Some("1-10"));
        assert_eq!(batch(None, &["1-9"]).find_last_id(), Some("1-9"));
        assert_eq!(batch(None, &[]).find_last_id(), None);
    }
}
