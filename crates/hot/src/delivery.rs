//! Deliveries: what a consumer gets of the stream, and how Redis writes it.

use deadpool_redis::redis::Value;
use mayfly_core::{
    Timestamp,
    entry::{CHANNELS, Entry, META, Meta, UnreadableEntry},
};

/// An entry as a consumer got it.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its id in the stream: milliseconds of its arrival, and a number.
    pub entry_id: String,
    /// The name of its first field.
    pub kind: String,
    /// What it says, or why this version cannot read it; then the body is kept beside it.
    pub entry: Result<Entry, (UnreadableEntry, Vec<u8>)>,
    /// Where it comes from.
    pub meta: Meta,
    /// The channel of each message of an expiry, blanks between them; else empty.
    pub channels: String,
}

impl Delivery {
    /// When the entry arrived, by the clock of Redis.
    #[must_use]
    pub fn arrived_at(&self) -> Timestamp {
        instant_of(&self.entry_id)
    }
}

/// What a consumer got at once.
#[derive(Debug, Default)]
pub struct Popped {
    /// Entries in the order of the stream.
    pub deliveries: Vec<Delivery>,
    /// Entries that are pending and no longer in the stream: nothing is left but to let go of them.
    pub gone: Vec<String>,
}

/// When an entry arrived: its id begins with milliseconds.
pub(crate) fn instant_of(entry_id: &str) -> Timestamp {
    let millis = entry_id.split('-').next().and_then(|millis| millis.parse().ok());
    Timestamp::from_millis(millis.unwrap_or(0))
}

/// Reads `[[stream, entries]]`, by hand because batches are large: values are moved, not copied.
pub(crate) fn read_streams(answer: Value) -> Popped {
    let Value::Array(streams) = answer else {
        // Nothing arrived while we waited.
        return Popped::default();
    };
    match streams.into_iter().next() {
        Some(Value::Array(mut stream)) if stream.len() == 2 => {
            read_entries(stream.pop().unwrap_or(Value::Nil))
        }
        _ => Popped::default(),
    }
}

pub(crate) fn read_entries(entries: Value) -> Popped {
    let mut popped = Popped::default();
    let Value::Array(entries) = entries else {
        return popped;
    };
    popped.deliveries.reserve(entries.len());
    for entry in entries {
        let Value::Array(entry) = entry else { continue };
        let mut parts = entry.into_iter();
        let (Some(id), fields) = (parts.next().and_then(text), parts.next()) else { continue };
        match fields {
            Some(Value::Array(fields)) => popped.deliveries.push(read_entry(id, fields)),
            _ => popped.gone.push(id),
        }
    }
    popped
}

fn read_entry(entry_id: String, fields: Vec<Value>) -> Delivery {
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
