//! The frames for a range of stream entries, encoded at most once per wire format and shared by
//! connections where possible.

use bytes::Bytes;
use mayfly_core::{
    EntryId, ExpiredMessage, LiveEntry, LiveEvent, Position,
    frame::{ServerFrame, write_message},
};

use super::encoding::{EncodedOnce, Encoding, encode_json, encode_sse_event};
use crate::{
    hub::{ConnectionMemory, StoredBytes},
    subscription::Subscription,
    websocket::{encode_text, text_payload},
};

/// Upper bound on the size of a frame, excluding its event and epoch: field names, entry ID and
/// frame header.
const EVENT_OVERHEAD_BYTES: usize = 104;
/// Size of an ID in a JSON list: a UUID, two quotes and a comma.
const LISTED_ID_BYTES: usize = 39;

/// The frames for a range of stream entries.
pub(crate) struct Batch {
    /// The position before the first entry.
    pub(crate) before: Position,
    /// The position of the last entry that the batch covers. This entry may have no frame.
    pub(crate) end: Position,
    entries: Vec<BatchEntry>,
    encoded: EncodedOnce<FrameBuffer>,
}

/// A set of entries in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntrySet {
    /// All entries starting at this index.
    From(usize),
    /// The entries at these indices, in ascending order.
    Indices(Vec<usize>),
}

/// The encoded frames of selected entries.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    pub(crate) bytes: Bytes,
    pub(crate) frames: usize,
    /// The ID of the last selected entry.
    pub(crate) last: EntryId,
}

struct BatchEntry {
    id: EntryId,
    audience: Audience,
}

/// The subscribers that receive the frame for an entry.
pub(crate) enum Audience {
    /// Subscribers to this channel.
    Channel(Box<str>),
    /// Subscribers to the channel of at least one of these messages. If the channel of a message is
    /// unknown, all subscribers with the right to all channels.
    Expired(Vec<ExpiredMessage>),
}

/// Concatenated frames.
struct FrameBuffer {
    bytes: StoredBytes,
    /// End offset of each frame.
    ends: Vec<usize>,
}

impl Batch {
    /// Encodes the entries after `before` and up to `end`. `entries` may omit entries that have no
    /// frame and, in a replay for one connection, entries that do not match the subscription.
    pub(crate) fn encode(
        before: Position,
        end: EntryId,
        entries: Vec<LiveEntry>,
        memory: &ConnectionMemory,
    ) -> Self {
        let mut position = before.clone();
        // Reserve enough capacity in advance. A buffer that grows by doubling would occupy up to
        // twice the size of its frames while a send queue holds any of them.
        let frame_overhead = before.epoch.len() + EVENT_OVERHEAD_BYTES;
        let capacity = entries.iter().map(|entry| estimate_bytes(&entry.event) + frame_overhead);
        let mut bytes = Vec::with_capacity(capacity.sum());
        let mut ends = Vec::with_capacity(entries.len());
        let mut batch_entries = Vec::with_capacity(entries.len());
        for LiveEntry { id, event, .. } in entries {
            position.entry = id;
            encode_text(&mut bytes, |buffer| write_event(buffer, &position, &event));
            ends.push(bytes.len());
            let audience = match event {
                LiveEvent::Message { channel, .. } => Audience::Channel(channel),
                LiveEvent::Expired(list) => Audience::Expired(list),
            };
            batch_entries.push(BatchEntry { id, audience });
        }
        let encoded = EncodedOnce::new(FrameBuffer { bytes: memory.store(bytes), ends });
        let end = Position { entry: end, ..before.clone() };
        Self { before, end, entries: batch_entries, encoded }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the approximate memory that the batch occupies, in bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        const ENTRY_BYTES: usize = 64;
        self.encoded.websocket().bytes.len() + self.entries.len() * ENTRY_BYTES
    }

    /// Returns the time when Redis accepted the first entry, in milliseconds since the Unix epoch,
    /// or 0 if the batch has no entries.
    pub(crate) fn first_accepted_millis(&self) -> u64 {
        self.entries.first().map_or(0, |entry| entry.id.millis)
    }

    /// Returns the audience of each entry, in order.
    pub(crate) fn audiences(&self) -> impl Iterator<Item = &Audience> {
        self.entries.iter().map(|entry| &entry.audience)
    }

    /// Returns the number of entries up to and including `entry`, or `None` if `entry` is neither
    /// in the batch nor the entry at the position `before` or `end`.
    pub(crate) fn count_up_to(&self, entry: EntryId) -> Option<usize> {
        if entry == self.before.entry {
            return Some(0);
        }
        if entry == self.end.entry {
            return Some(self.len());
        }
        self.entries.binary_search_by_key(&entry, |one| one.id).ok().map(|index| index + 1)
    }

    /// Returns the entries from index `from` on that match the subscription.
    pub(crate) fn find_matching(&self, subscription: &Subscription, from: usize) -> EntrySet {
        if !subscription.has_messages() {
            return EntrySet::Indices(Vec::new());
        }
        let matching = self.entries.iter().enumerate().skip(from);
        let matching = matching.filter(|(_, entry)| entry.audience.includes(subscription));
        EntrySet::Indices(matching.map(|(index, _)| index).collect())
    }

    /// Returns the encoded frames of a set, or `None` if the set is empty. Shares the buffer of the
    /// batch if the frames are contiguous and unfiltered and fill most of the buffer. Otherwise,
    /// copies the frames and filters the IDs in `expired` frames.
    pub(crate) fn select(
        &self,
        encoding: Encoding,
        subscription: &Subscription,
        set: &EntrySet,
    ) -> Option<Selection> {
        let (first, end, frames) = match set {
            EntrySet::From(from) => (*from, self.len().checked_sub(1)?, self.len() - from),
            EntrySet::Indices(indices) => (*indices.first()?, *indices.last()?, indices.len()),
        };
        if frames == 0 {
            return None;
        }
        let source = self.frames(encoding);
        let is_contiguous =
            end - first + 1 == frames && self.are_unfiltered(subscription, first, end);
        // A queued slice keeps the whole buffer in memory, so small parts are copied.
        let range = source.range(first, end);
        let bytes = if is_contiguous && range.len() * 4 >= source.bytes.len() * 3 {
            source.bytes.slice(range)
        } else {
            let mut bytes = Vec::with_capacity(self.count_bytes(source, set));
            let indices = match set {
                EntrySet::From(from) => &(*from..self.len()).collect(),
                EntrySet::Indices(indices) => indices,
            };
            for &index in indices {
                self.append_frame(&mut bytes, source, encoding, subscription, index);
            }
            source.bytes.memory().share(bytes)
        };
        Some(Selection { bytes, frames, last: self.entries[end].id })
    }

    /// Returns the longest prefix of a set in which the unfiltered frames total at most `bytes_max`
    /// bytes. The prefix contains at least one entry unless the set is empty. If entries remain,
    /// also returns the ID of the last entry in the prefix.
    pub(crate) fn take_part(
        &self,
        encoding: Encoding,
        set: EntrySet,
        bytes_max: usize,
    ) -> (EntrySet, Option<EntryId>) {
        let mut indices = match set {
            EntrySet::From(from) => (from..self.len()).collect(),
            EntrySet::Indices(indices) => indices,
        };
        let source = self.frames(encoding);
        let mut bytes = 0;
        let mut fits = |index: &usize| {
            bytes += source.range(*index, *index).len();
            bytes <= bytes_max
        };
        let part = indices.iter().take_while(|index| fits(index)).count().max(1);
        if part >= indices.len() {
            return (EntrySet::Indices(indices), None);
        }
        indices.truncate(part);
        let last = indices.last().map(|&index| self.entries[index].id);
        (EntrySet::Indices(indices), last)
    }

    /// Returns the total size of the unfiltered frames of a set, in bytes.
    fn count_bytes(&self, source: &FrameBuffer, set: &EntrySet) -> usize {
        match set {
            EntrySet::From(from) => source.range(*from, self.len() - 1).len(),
            EntrySet::Indices(indices) => {
                indices.iter().map(|&index| source.range(index, index).len()).sum()
            }
        }
    }

    fn frames(&self, encoding: Encoding) -> &FrameBuffer {
        self.encoded.get(encoding, |websocket| self.encode_sse(websocket))
    }

    fn encode_sse(&self, websocket: &FrameBuffer) -> FrameBuffer {
        let event_overhead = self.end.epoch.len() + EVENT_OVERHEAD_BYTES;
        let mut bytes = Vec::with_capacity(websocket.bytes.len() + self.len() * event_overhead);
        let mut ends = Vec::with_capacity(self.len());
        for (index, entry) in self.entries.iter().enumerate() {
            let frame = &websocket.bytes[websocket.range(index, index)];
            let position = Position { entry: entry.id, ..self.end.clone() };
            encode_sse_event(&mut bytes, Some(&position), text_payload(frame));
            ends.push(bytes.len());
        }
        FrameBuffer { bytes: websocket.bytes.memory().store(bytes), ends }
    }

    /// Returns whether the subscription receives the frames `first..=last` without filtering.
    fn are_unfiltered(&self, subscription: &Subscription, first: usize, last: usize) -> bool {
        self.entries[first..=last].iter().all(|entry| entry.audience.is_unfiltered(subscription))
    }

    fn append_frame(
        &self,
        buffer: &mut Vec<u8>,
        source: &FrameBuffer,
        encoding: Encoding,
        subscription: &Subscription,
        index: usize,
    ) {
        let entry = &self.entries[index];
        match &entry.audience {
            Audience::Expired(list) if !entry.audience.is_unfiltered(subscription) => {
                let is_wanted =
                    |one: &&ExpiredMessage| subscription.has_channel(one.channel.as_deref());
                let ids = list.iter().filter(is_wanted).map(|one| one.id).collect();
                let position = Position { entry: entry.id, ..self.end.clone() };
                let json = ServerFrame::Expired { position: &position, ids }.to_json();
                encode_json(buffer, encoding, Some(&position), &json);
            }
            _ => buffer.extend_from_slice(&source.bytes[source.range(index, index)]),
        }
    }
}

impl Audience {
    fn includes(&self, subscription: &Subscription) -> bool {
        match self {
            Self::Channel(channel) => subscription.has_channel(Some(channel)),
            Self::Expired(list) => {
                list.iter().any(|one| subscription.has_channel(one.channel.as_deref()))
            }
        }
    }

    /// Returns whether a subscription in the audience receives the frame without filtering.
    fn is_unfiltered(&self, subscription: &Subscription) -> bool {
        match self {
            Self::Channel(_) => true,
            Self::Expired(list) => {
                list.iter().all(|one| subscription.has_channel(one.channel.as_deref()))
            }
        }
    }
}

impl FrameBuffer {
    /// Returns the byte range of the frames `first..=last`.
    fn range(&self, first: usize, last: usize) -> std::ops::Range<usize> {
        first.checked_sub(1).map_or(0, |before| self.ends[before])..self.ends[last]
    }
}

/// Estimates the size of an event in its frame, in bytes.
fn estimate_bytes(event: &LiveEvent) -> usize {
    match event {
        LiveEvent::Message { json, .. } => json.len(),
        LiveEvent::Expired(list) => list.len() * LISTED_ID_BYTES,
    }
}

fn write_event(buffer: &mut Vec<u8>, position: &Position, event: &LiveEvent) {
    match event {
        LiveEvent::Message { json, .. } => write_message(buffer, position, json),
        LiveEvent::Expired(list) => {
            let ids = list.iter().map(|one| one.id).collect();
            buffer.extend_from_slice(&ServerFrame::Expired { position, ids }.to_json());
        }
    }
}

#[cfg(test)]
mod tests {
    use mayfly_auth::Identity;

    use super::*;
    use crate::subscription::{ChannelFilters, NewSubscription};

    const ID: &str = "019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47";

    fn message(number: u64, channel: &str) -> LiveEntry {
        let json = Bytes::from(format!("{{\"n\":{number}}}"));
        let event = LiveEvent::Message { channel: channel.into(), json };
        LiveEntry { id: EntryId { millis: number, number: 0 }, request_id: "".into(), event }
    }

    fn expired(number: u64, channels: &[&str]) -> LiveEntry {
        let one = |channel: &&str| ExpiredMessage {
            id: ID.parse().expect("a valid ID"),
            channel: Some((*channel).into()),
        };
        let event = LiveEvent::Expired(channels.iter().map(one).collect());
        LiveEntry { id: EntryId { millis: number, number: 0 }, request_id: "".into(), event }
    }

    fn subscription(channels: &[&str]) -> Subscription {
        let names: Vec<_> = channels.iter().map(|&name| name.to_owned()).collect();
        let channels = (!names.is_empty()).then_some(names);
        let names = NewSubscription { channels, ..NewSubscription::default() };
        let mut subscription = Subscription::try_from(names).expect("valid names");
        subscription.restrict(&Identity::Open, &ChannelFilters::default());
        subscription
    }

    fn batch() -> Batch {
        let entries =
            vec![message(1, "a"), message(2, "b"), expired(3, &["a", "b"]), message(4, "a")];
        Batch::encode(
            Position::new("e1", EntryId::START),
            EntryId { millis: 4, number: 0 },
            entries,
            &ConnectionMemory::new(0),
        )
    }

    fn render(
        batch: &Batch,
        encoding: Encoding,
        subscription: &Subscription,
        from: usize,
    ) -> String {
        let entries = batch.find_matching(subscription, from);
        let selection = batch.select(encoding, subscription, &entries);
        selection.map_or(String::new(), |one| String::from_utf8_lossy(&one.bytes).into_owned())
    }

    #[test]
    fn subscriber_receives_entries_of_its_channels_in_order() {
        let batch = batch();
        let rendered = render(&batch, Encoding::Sse, &subscription(&["a"]), 0);
        insta::assert_snapshot!(rendered, @r#"
        id: 1.e1.1-0
        data: {"type":"message","position":"1.e1.1-0","message":{"n":1}}

        id: 1.e1.3-0
        data: {"type":"expired","position":"1.e1.3-0","ids":["019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47"]}

        id: 1.e1.4-0
        data: {"type":"message","position":"1.e1.4-0","message":{"n":4}}

        "#);
        assert_eq!(render(&batch, Encoding::WebSocket, &subscription(&["c"]), 0), "");
        assert_eq!(render(&batch, Encoding::Sse, &subscription(&["a"]), 4), "");
    }

    #[test]
    fn subscribers_of_all_entries_share_the_buffer() {
        let batch = batch();
        for subscription in [subscription(&[]), subscription(&["a", "b"])] {
            let matching = batch.find_matching(&subscription, 0);
            for entries in [matching, EntrySet::From(0)] {
                let selection = batch.select(Encoding::WebSocket, &subscription, &entries);
                let selection = selection.expect("a selection");
                assert_eq!(selection.bytes.as_ptr(), batch.encoded.websocket().bytes.as_ptr());
                assert_eq!((selection.frames, selection.last.millis), (4, 4));
            }
        }
        assert!(
            render(&batch, Encoding::WebSocket, &subscription(&["b"]), 2).contains("\"expired\"")
        );
    }

    #[test]
    fn only_entries_and_the_start_of_a_batch_are_found() {
        let batch = batch();
        let up_to = |millis| batch.count_up_to(EntryId { millis, number: 0 });
        assert_eq!([up_to(0), up_to(1), up_to(4), up_to(5)], [Some(0), Some(1), Some(4), None]);
        assert_eq!(batch.count_up_to(EntryId { millis: 1, number: 1 }), None);
    }
}
