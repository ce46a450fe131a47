//! A batch: what came at once, encoded once for all connections of the process.

use std::sync::OnceLock;

use bytes::Bytes;
use mayfly_core::{
    EntryId, ExpiredMessage, LiveEntry, LiveEvent, Position,
    frame::{ServerFrame, write_message},
};

use crate::{
    subscription::Subscription,
    websocket::{encode_text, payload_of},
};

/// How frames are written to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Encoding {
    /// WebSocket text frames.
    WebSocket,
    /// Server-sent events.
    Events,
}

/// Entries that stand one after the other in the stream.
pub(crate) struct Batch {
    /// The point before the first entry.
    pub(crate) before: Position,
    /// The point behind the last entry, also behind those that cannot be shown.
    pub(crate) end: Position,
    entries: Vec<BatchEntry>,
    websocket: Frames,
    /// Made when the first connection wants it.
    events: OnceLock<Frames>,
}

/// Which frames of a batch somebody gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Picked {
    /// All behind the first so many.
    From(usize),
    /// These, rising.
    Some(Vec<usize>),
}

/// Bytes for a connection.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    pub(crate) bytes: Bytes,
    pub(crate) frames: usize,
    /// The last entry in it.
    pub(crate) last: EntryId,
}

struct BatchEntry {
    id: EntryId,
    audience: Audience,
}

/// Who gets the frame of an entry.
pub(crate) enum Audience {
    /// Who has this channel.
    Channel(Box<str>),
    /// Who has one of the channels of these messages.
    Expired(Vec<ExpiredMessage>),
}

/// Frames one behind the other.
struct Frames {
    bytes: Bytes,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Batch {
    /// Encodes entries that follow `before` and end at `end`; there may be none that can be shown.
    pub(crate) fn encode(before: Position, end: EntryId, entries: Vec<LiveEntry>) -> Self {
        let mut position = before.clone();
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(entries.len()));
        let mut kept = Vec::with_capacity(entries.len());
        for LiveEntry { id, event, .. } in entries {
            position.entry = id;
            encode_text(&mut bytes, |into| write_event(into, &position, &event));
            ends.push(bytes.len());
            let audience = match event {
                LiveEvent::Message { channel, .. } => Audience::Channel(channel),
                LiveEvent::Expired(list) => Audience::Expired(list),
            };
            kept.push(BatchEntry { id, audience });
        }
        let websocket = Frames { bytes: bytes.into(), ends };
        let end = Position { entry: end, ..before.clone() };
        Self { before, end, entries: kept, websocket, events: OnceLock::new() }
    }

    /// How many entries it has.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes that it keeps in memory, about.
    pub(crate) fn weight(&self) -> usize {
        const ENTRY_BYTES: usize = 64;
        self.websocket.bytes.len() + self.entries.len() * ENTRY_BYTES
    }

    /// Milliseconds at which the first entry was accepted, by the clock of Redis.
    pub(crate) fn first_millis(&self) -> u64 {
        self.entries.first().map_or(0, |entry| entry.id.millis)
    }

    /// Who gets which entry, in order.
    pub(crate) fn audiences(&self) -> impl Iterator<Item = &Audience> {
        self.entries.iter().map(|entry| &entry.audience)
    }

    /// How many entries lie up to and with this point; nothing if it is none of the batch.
    pub(crate) fn count_up_to(&self, entry: EntryId) -> Option<usize> {
        if entry == self.before.entry {
            return Some(0);
        }
        if entry == self.end.entry {
            return Some(self.len());
        }
        self.entries.binary_search_by_key(&entry, |one| one.id).ok().map(|index| index + 1)
    }

    /// Which entries behind the first `from` this subscription gets.
    pub(crate) fn pick(&self, subscription: &Subscription, from: usize) -> Picked {
        if !subscription.has_messages() {
            return Picked::Some(Vec::new());
        }
        let wanted = self.entries.iter().enumerate().skip(from);
        let wanted = wanted.filter(|(_, entry)| entry.audience.has(subscription));
        Picked::Some(wanted.map(|(index, _)| index).collect())
    }

    /// The bytes of what is picked; nothing if that is nothing. What is there already in one piece
    /// is shared, and copied otherwise.
    pub(crate) fn select(
        &self,
        encoding: Encoding,
        subscription: &Subscription,
        picked: &Picked,
    ) -> Option<Selection> {
        let (first, end, frames) = match picked {
            Picked::From(from) => (*from, self.len().checked_sub(1)?, self.len() - from),
            Picked::Some(indices) => (*indices.first()?, *indices.last()?, indices.len()),
        };
        if frames == 0 {
            return None;
        }
        let source = self.frames(encoding);
        let is_in_one_piece = end - first + 1 == frames && self.are_whole(subscription, first, end);
        // A small part would keep the whole batch in memory for as long as it waits.
        let piece = source.range(first, end);
        let bytes = if is_in_one_piece && piece.len() * 2 >= source.bytes.len() {
            source.bytes.slice(piece)
        } else {
            let mut bytes = Vec::new();
            let indices = match picked {
                Picked::From(from) => &(*from..self.len()).collect(),
                Picked::Some(indices) => indices,
            };
            for &index in indices {
                self.append(&mut bytes, source, encoding, subscription, index);
            }
            bytes.into()
        };
        Some(Selection { bytes, frames, last: self.entries[end].id })
    }

    fn frames(&self, encoding: Encoding) -> &Frames {
        match encoding {
            Encoding::WebSocket => &self.websocket,
            Encoding::Events => self.events.get_or_init(|| self.encode_events()),
        }
    }

    fn encode_events(&self) -> Frames {
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(self.len()));
        for (index, entry) in self.entries.iter().enumerate() {
            let frame = &self.websocket.bytes[self.websocket.range(index, index)];
            let position = Position { entry: entry.id, ..self.end.clone() };
            encode_event(&mut bytes, Some(&position), payload_of(frame));
            ends.push(bytes.len());
        }
        Frames { bytes: bytes.into(), ends }
    }

    /// Whether this subscription gets these frames as they are.
    fn are_whole(&self, subscription: &Subscription, first: usize, last: usize) -> bool {
        self.entries[first..=last].iter().all(|entry| entry.audience.is_whole_for(subscription))
    }

    fn append(
        &self,
        into: &mut Vec<u8>,
        source: &Frames,
        encoding: Encoding,
        subscription: &Subscription,
        index: usize,
    ) {
        let entry = &self.entries[index];
        match &entry.audience {
            Audience::Expired(list) if !entry.audience.is_whole_for(subscription) => {
                let wanted =
                    |one: &&ExpiredMessage| subscription.has_channel(one.channel.as_deref());
                let ids = list.iter().filter(wanted).map(|one| one.id).collect();
                let position = Position { entry: entry.id, ..self.end.clone() };
                let json = ServerFrame::Expired { position: &position, ids }.to_json();
                encode_json(into, encoding, Some(&position), &json);
            }
            _ => into.extend_from_slice(&source.bytes[source.range(index, index)]),
        }
    }
}

impl Audience {
    fn has(&self, subscription: &Subscription) -> bool {
        match self {
            Self::Channel(channel) => subscription.has_channel(Some(channel)),
            Self::Expired(list) => {
                list.iter().any(|one| subscription.has_channel(one.channel.as_deref()))
            }
        }
    }

    /// Whether a subscription that gets the frame gets it as it is.
    fn is_whole_for(&self, subscription: &Subscription) -> bool {
        match self {
            Self::Channel(_) => true,
            Self::Expired(list) => {
                list.iter().all(|one| subscription.has_channel(one.channel.as_deref()))
            }
        }
    }
}

impl Frames {
    /// Where the frames from `first` to `last`, both included, lie.
    fn range(&self, first: usize, last: usize) -> std::ops::Range<usize> {
        first.checked_sub(1).map_or(0, |before| self.ends[before])..self.ends[last]
    }
}

fn write_event(into: &mut Vec<u8>, position: &Position, event: &LiveEvent) {
    match event {
        LiveEvent::Message { json, .. } => write_message(into, position, json),
        LiveEvent::Expired(list) => {
            let ids = list.iter().map(|one| one.id).collect();
            into.extend_from_slice(&ServerFrame::Expired { position, ids }.to_json());
        }
    }
}

/// Appends one frame, whose JSON is there.
pub(crate) fn encode_json(
    into: &mut Vec<u8>,
    encoding: Encoding,
    position: Option<&Position>,
    json: &[u8],
) {
    match encoding {
        Encoding::WebSocket => encode_text(into, |into| into.extend_from_slice(json)),
        Encoding::Events => encode_event(into, position, json),
    }
}

/// Appends one server-sent event (WHATWG HTML, section 9.2); JSON is one line.
fn encode_event(into: &mut Vec<u8>, position: Option<&Position>, json: &[u8]) {
    if let Some(position) = position {
        into.extend_from_slice(format!("id: {position}\n").as_bytes());
    }
    into.extend_from_slice(b"data: ");
    into.extend_from_slice(json);
    into.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subscription::Names;

    const ID: &str = "019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47";

    fn message(number: u64, channel: &str) -> LiveEntry {
        let json = Bytes::from(format!("{{\"n\":{number}}}"));
        let event = LiveEvent::Message { channel: channel.into(), json };
        LiveEntry { id: EntryId { millis: number, number: 0 }, request_id: "".into(), event }
    }

    fn expired(number: u64, channels: &[&str]) -> LiveEntry {
        let one = |channel: &&str| ExpiredMessage {
            id: ID.parse().expect("an id"),
            channel: Some((*channel).into()),
        };
        let event = LiveEvent::Expired(channels.iter().map(one).collect());
        LiveEntry { id: EntryId { millis: number, number: 0 }, request_id: "".into(), event }
    }

    fn of(channels: &[&str]) -> Subscription {
        let channels = channels.iter().map(|&name| name.to_owned()).collect();
        Subscription::open(Names { channels, ..Names::default() }).expect("sound names")
    }

    fn batch() -> Batch {
        let entries =
            vec![message(1, "a"), message(2, "b"), expired(3, &["a", "b"]), message(4, "a")];
        Batch::encode(
            Position::new("e1", EntryId::START),
            EntryId { millis: 4, number: 0 },
            entries,
        )
    }

    fn show(batch: &Batch, encoding: Encoding, subscription: &Subscription, from: usize) -> String {
        let picked = batch.pick(subscription, from);
        let selection = batch.select(encoding, subscription, &picked);
        selection.map_or(String::new(), |one| String::from_utf8_lossy(&one.bytes).into_owned())
    }

    #[test]
    fn a_subscriber_gets_its_channels_in_order() {
        let batch = batch();
        let shown = show(&batch, Encoding::Events, &of(&["a"]), 0);
        insta::assert_snapshot!(shown, @r#"
        id: 1.e1.1-0
        data: {"type":"message","position":"1.e1.1-0","message":{"n":1}}

        id: 1.e1.3-0
        data: {"type":"expired","position":"1.e1.3-0","ids":["019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47"]}

        id: 1.e1.4-0
        data: {"type":"message","position":"1.e1.4-0","message":{"n":4}}

        "#);
        assert_eq!(show(&batch, Encoding::WebSocket, &of(&["c"]), 0), "");
        assert_eq!(show(&batch, Encoding::Events, &of(&["a"]), 4), "");
    }

    #[test]
    fn who_gets_everything_shares_the_bytes() {
        let batch = batch();
        for subscription in [of(&[]), of(&["a", "b"])] {
            let picked = batch.pick(&subscription, 0);
            for picked in [picked, Picked::From(0)] {
                let selection = batch.select(Encoding::WebSocket, &subscription, &picked);
                let selection = selection.expect("there is something");
                assert_eq!(selection.bytes.as_ptr(), batch.websocket.bytes.as_ptr());
                assert_eq!((selection.frames, selection.last.millis), (4, 4));
            }
        }
        assert!(show(&batch, Encoding::WebSocket, &of(&["b"]), 2).contains("\"expired\""));
    }

    #[test]
    fn a_point_is_found_where_an_entry_is_or_the_batch_begins() {
        let batch = batch();
        let up_to = |millis| batch.count_up_to(EntryId { millis, number: 0 });
        assert_eq!([up_to(0), up_to(1), up_to(4), up_to(5)], [Some(0), Some(1), Some(4), None]);
        assert_eq!(batch.count_up_to(EntryId { millis: 1, number: 1 }), None);
    }
}
