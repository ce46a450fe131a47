//! Delivers frames: enqueues them for connections, flushes the send queues, and closes slow
//! consumers.

use std::{collections::HashMap, rc::Rc, sync::Arc, time::Instant};

use bytes::Bytes;
use mayfly_core::{
    EntryId, Feed, Position,
    frame::{ResumeFailure, ServerFrame},
};
use mayfly_runtime::settings::SlowConsumer;
use metrics::{counter, histogram};

use super::{
    Worker,
    connection::{Connection, Gap, QueueLimits, Stage},
    groups::GroupKey,
};
use crate::{
    frames::{Batch, PlayFrames, Selection, encode_json, encode_sse_retry},
    metrics as names,
    websocket::CloseCode,
};

/// Maximum total size of the frames that a replay enqueues in one step, in bytes. The last frame of
/// a step can make the total exceed this limit.
pub(crate) const REPLAY_PAGE_BYTES: usize = 256 * 1024;

impl Worker {
    /// Delivers a batch to all live connections with a subscription that matches at least one entry
    /// in the batch.
    pub(super) fn deliver_batch(&mut self, batch: &Arc<Batch>) {
        self.replay_buffer.push(Arc::clone(batch));
        self.position = Some(batch.end.clone());
        let (mut slow, mut delivered, now) = (Vec::new(), 0, Instant::now());
        for (group, entries) in self.groups.match_batch(batch) {
            let GroupKey { encoding, subscription, .. } = self.groups.key(group);
            let Some(selection) = batch.select(*encoding, subscription, &entries) else {
                continue;
            };
            for &key in self.groups.members(group) {
                let connection = &mut self.connections[key];
                if try_enqueue_selection(connection, &selection, self.queue_limits, now) {
                    delivered += selection.frames;
                    mark_dirty(&mut self.dirty, connection, key);
                } else {
                    slow.push((key, selection.frames));
                }
            }
        }
        self.count_delivered(delivered);
        for (key, frames) in slow {
            self.handle_slow_consumer(key, frames, &batch.before);
        }
    }

    /// Delivers play counts to all connections that subscribe to the `plays` feed, filtered by the
    /// videos in each subscription. Unlike states, play counts are not coalesced, so a client that
    /// cannot keep up with them is treated as a slow consumer.
    pub(super) fn deliver_plays(&mut self, plays: &PlayFrames) {
        // Select frames once per group. The members of a group share its key, so the address of the
        // key identifies the group. Hashing the key would take time for each name in it.
        let mut selections: HashMap<*const GroupKey, Option<(Bytes, usize)>> = HashMap::new();
        let (mut slow, mut delivered) = (Vec::new(), 0);
        for key in self.find_subscribers(Feed::Plays) {
            let group_key = &self.connections[key].group_key;
            let selection = selections.entry(Rc::as_ptr(group_key)).or_insert_with(|| {
                plays.select(group_key.encoding, &group_key.subscription.videos)
            });
            let Some((bytes, frames)) = selection.clone() else { continue };
            if self.try_enqueue(key, bytes, frames) {
                delivered += frames;
            } else {
                slow.push((key, frames));
            }
        }
        self.count_delivered(delivered);
        if let Some(position) = self.position.clone() {
            for (key, frames) in slow {
                self.handle_slow_consumer(key, frames, &position);
            }
        }
    }

    /// Handles frames that could not be enqueued: closes the connection or drops the frames, as
    /// configured.
    fn handle_slow_consumer(&mut self, key: usize, frames: usize, before: &Position) {
        counter!(names::FRAMES_DROPPED_TOTAL, "reason" => "slow_consumer").increment(frames as u64);
        match self.settings.slow_consumer {
            SlowConsumer::Close => self.close(key, &CloseCode::SlowConsumer.into()),
            SlowConsumer::Drop => {
                let connection = &mut self.connections[key];
                let position = Position { entry: connection.delivered_to, ..before.clone() };
                let new_gap = || Box::new(Gap { dropped: 0, position });
                connection.gap.get_or_insert_with(new_gap).dropped += frames;
            }
        }
    }

    /// Continues live delivery at another position, such as the start of a new epoch. If `missed`
    /// is `Some`, clients may have missed messages, and live connections receive the reason in a
    /// `hello` frame. Otherwise, live connections without a pending `gap` frame receive a
    /// `position` frame.
    pub(super) fn reposition(&mut self, position: &Position, missed: Option<ResumeFailure>) {
        self.replay_buffer.clear();
        self.position = Some(position.clone());
        let live: Vec<_> = self.keys(|connection| connection.stage == Stage::Live).collect();
        for key in live {
            self.connections[key].delivered_to = position.entry;
            match missed {
                Some(reason) => {
                    // The `hello` frame already tells the client that it may have missed messages,
                    // so no `gap` frame is needed.
                    self.connections[key].gap = None;
                    self.send_hello(key, position, Some(false), Some(reason));
                }
                // Clients cannot resume from positions in the previous epoch.
                None => self.send_position(key, position),
            }
        }
    }

    /// Replays buffered entries to a connection that has received everything up to `from`. Starts
    /// live delivery when the connection has caught up. Stops after [`REPLAY_PAGE_BYTES`], or after
    /// more than half the maximum number of queued frames.
    pub(crate) fn replay_buffered(&mut self, key: usize, from: EntryId) -> BufferedReplay {
        let Some(position) = self.position.clone() else { return BufferedReplay::NotBuffered };
        let Some((first, mut skip)) = self.find_after(from) else {
            return BufferedReplay::NotBuffered;
        };
        let group_key = Rc::clone(&self.connections[key].group_key);
        let GroupKey { encoding, subscription, .. } = &*group_key;
        let (mut bytes, mut frames) = (0, 0);
        for index in first.. {
            let Some(batch) = self.replay_buffer.get(index) else { break };
            if bytes >= REPLAY_PAGE_BYTES || frames > self.queue_limits.frames / 2 {
                return BufferedReplay::Partial(batch.before.entry);
            }
            let entries = batch.find_matching(subscription, skip);
            let (part, end) = batch.take_part(*encoding, entries, REPLAY_PAGE_BYTES - bytes);
            if let Some(selection) = batch.select(*encoding, subscription, &part) {
                bytes += selection.bytes.len();
                frames += selection.frames;
                self.enqueue_replay(key, selection);
            }
            if let Some(end) = end {
                return BufferedReplay::Partial(end);
            }
            skip = 0;
        }
        self.go_live(key, position.entry);
        BufferedReplay::CaughtUp
    }

    /// Enqueues part of a replay. Ignores the queue limits, because the caller paces the replay.
    pub(crate) fn enqueue_replay(&mut self, key: usize, selection: Selection) {
        self.count_delivered(selection.frames);
        let connection = &mut self.connections[key];
        connection.delivered_to = selection.last;
        connection.last_frame_at = Instant::now();
        self.enqueue(key, selection.bytes, selection.frames);
    }

    /// Encodes and enqueues a frame for a single connection.
    pub(super) fn send_frame(
        &mut self,
        key: usize,
        frame: &ServerFrame<'_>,
        position: Option<&Position>,
    ) {
        let connection = &mut self.connections[key];
        if position.is_some() {
            connection.last_frame_at = Instant::now();
        }
        let mut bytes = Vec::new();
        encode_json(&mut bytes, connection.group_key.encoding, position, &frame.to_json());
        let bytes = self.memory.share(bytes);
        self.enqueue(key, bytes, 1);
    }

    /// Enqueues an SSE `retry` field, which sets the delay before an `EventSource` reconnects, in
    /// milliseconds.
    pub(crate) fn send_retry(&mut self, key: usize, millis: u64) {
        self.enqueue(key, encode_sse_retry(millis), 0);
    }

    /// Enqueues the reply to a client frame. If the send queue has no room for the reply, closes
    /// the connection with [`CloseCode::SlowConsumer`].
    pub(crate) fn send_reply(&mut self, key: usize, bytes: Vec<u8>) {
        let connection = &mut self.connections[key];
        if connection.has_room(bytes.len(), 1, self.queue_limits) {
            connection.send_queue.push_reply(self.memory.share(bytes));
            mark_dirty(&mut self.dirty, connection, key);
        } else {
            self.close(key, &CloseCode::SlowConsumer.into());
        }
    }

    /// Enqueues frames without a position if the send queue has room, flushing first if necessary.
    /// Returns whether the frames were enqueued. Enqueues nothing while a `gap` frame is pending.
    pub(super) fn try_enqueue(&mut self, key: usize, bytes: Bytes, frames: usize) -> bool {
        let connection = &mut self.connections[key];
        if connection.gap.is_some() {
            return false;
        }
        if !connection.has_room(bytes.len(), frames, self.queue_limits) {
            connection.flush();
        }
        let has_room = connection.has_room(bytes.len(), frames, self.queue_limits);
        if has_room {
            self.enqueue(key, bytes, frames);
        }
        has_room
    }

    pub(super) fn enqueue(&mut self, key: usize, bytes: Bytes, frames: usize) {
        let connection = &mut self.connections[key];
        connection.send_queue.push(bytes, frames);
        mark_dirty(&mut self.dirty, connection, key);
    }

    /// Flushes every connection with new frames. If connections then hold too much memory, closes
    /// the largest ones.
    pub(crate) fn flush(&mut self) {
        self.flush_dirty();
        if self.memory.is_exceeded() {
            self.close_largest();
            self.flush_dirty();
        }
    }

    fn flush_dirty(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        for &key in &dirty {
            self.connections[key].is_dirty = false;
            self.connections[key].flush();
            self.on_queue_drained(key);
        }
        // Reuse the allocation.
        if self.dirty.is_empty() {
            self.dirty = dirty;
            self.dirty.clear();
        }
    }

    /// Removes and returns the next chunk of a response body.
    pub(crate) fn pop_chunk(&mut self, key: usize) -> Option<Bytes> {
        let chunk = self.connections[key].pop_chunk();
        self.on_queue_drained(key);
        chunk
    }

    /// Flushes a connection whose socket has become writable.
    pub(crate) fn flush_connection(&mut self, key: usize) {
        self.connections[key].flush();
        self.on_queue_drained(key);
    }

    /// Sends the `gap` frame and the pending states once the send queue is at most half full, so
    /// that the client does not receive a `gap` frame after every few frames.
    fn on_queue_drained(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        if connection.gap.is_none() && connection.pending_states.is_empty() {
            return;
        }
        let has_room = connection.send_queue.frames() * 2 <= self.queue_limits.frames
            && connection.send_queue.bytes() * 2 <= self.queue_limits.bytes;
        if !has_room || !connection.is_open() {
            return;
        }
        if let Some(gap) = connection.gap.take() {
            let Gap { dropped, position } = *gap;
            let frame = ServerFrame::Gap { dropped: dropped as u64, position: &position };
            self.send_frame(key, &frame, Some(&position));
        }
        self.flush_pending(key);
        self.connections[key].flush();
    }
}

/// The result of a replay from the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BufferedReplay {
    /// The connection is live.
    CaughtUp,
    /// The matching entries up to this one have been enqueued, and more entries are buffered.
    Partial(EntryId),
    /// The position is not in the buffer.
    NotBuffered,
}

/// Enqueues a selection if the send queue has room, flushing first if necessary. Returns whether
/// the selection was enqueued. Enqueues nothing while a `gap` frame is pending.
fn try_enqueue_selection(
    connection: &mut Connection,
    selection: &Selection,
    limits: QueueLimits,
    now: Instant,
) -> bool {
    let (bytes, frames) = (selection.bytes.len(), selection.frames);
    if connection.gap.is_some() {
        return false;
    }
    if !connection.has_room(bytes, frames, limits) {
        connection.flush();
        if !connection.has_room(bytes, frames, limits) {
            return false;
        }
    }
    connection.delivered_to = selection.last;
    connection.last_frame_at = now;
    connection.send_queue.push(selection.bytes.clone(), frames);
    true
}

fn mark_dirty(dirty: &mut Vec<usize>, connection: &mut Connection, key: usize) {
    if !connection.is_dirty {
        connection.is_dirty = true;
        dirty.push(key);
    }
}

/// Records the time from when Redis accepted the first entry of a batch to when the batch was
/// flushed.
pub(super) fn record_delivery_latency(batch: &Batch, now_millis: i64) {
    let accepted = i64::try_from(batch.first_accepted_millis()).unwrap_or(i64::MAX);
    let millis = u32::try_from(now_millis.saturating_sub(accepted)).unwrap_or(0);
    histogram!(names::DELIVERY_LATENCY_SECONDS).record(f64::from(millis) / 1000.0);
}

#[cfg(test)]
mod tests {
    use mayfly_auth::{Identity, Names, Token, TokenRights};
    use mayfly_core::{LiveEntry, LiveEvent, Username};

    use super::*;
    use crate::{
        frames::Encoding,
        hub::Hub,
        subscription::{NewSubscription, Subscription},
        worker::Sink,
        worker_event::WorkerEvent,
    };

    fn position(millis: u64) -> Position {
        Position::new("e", EntryId { millis, number: 0 })
    }

    /// Returns the identity of a token for channels that match these patterns.
    fn token(patterns: &[&str]) -> Identity {
        let subscribe = Names::parse(patterns.iter().copied()).expect("valid patterns");
        Identity::Token(Arc::new(Token {
            subject: Username::parse("fred").expect("a valid username"),
            id: None,
            issued_at: None,
            expires_at: i64::from(u32::MAX),
            rights: TokenRights { subscribe, ..TokenRights::default() },
        }))
    }

    #[tokio::test]
    async fn rest_of_a_replay_follows_the_rights_of_renewed_credentials() {
        let hub = Hub::for_tests(&[]);
        let mut worker = Worker::new(hub.register().0, &hub);
        worker.handle(WorkerEvent::Repositioned(position(1), None));
        let key = worker.register(Sink::Sse(None), Encoding::Sse, None);
        worker.accept(key, token(&["a", "b"]), None, None);
        let all = Subscription::try_from(NewSubscription::default()).expect("valid names");
        worker.start_subscription(key, all);
        worker.start_replay(key, &position(1));
        let entries = [(2, "a"), (3, "b")].map(|(millis, channel)| LiveEntry {
            id: position(millis).entry,
            request_id: "".into(),
            event: LiveEvent::Message { channel: channel.into(), json: "{}".into() },
        });
        let batch = Batch::encode(position(1), position(3).entry, entries.into(), &hub.memory);
        worker.handle(WorkerEvent::Batch(Arc::new(batch)));
        while worker.pop_chunk(key).is_some() {}
        assert!(worker.accept(key, token(&["b"]), None, None).is_empty());
        assert_eq!(worker.replay_buffered(key, position(1).entry), BufferedReplay::CaughtUp);
        let mut events = Vec::new();
        while let Some(chunk) = worker.pop_chunk(key) {
            events.extend(chunk);
        }
        let events = String::from_utf8(events).expect("the events are text");
        let id = |millis: u64| format!("id: {}\n", position(millis));
        let is_received = [2, 3].map(|millis| events.contains(&id(millis)));
        assert_eq!(is_received, [false, true], "{events}");
    }
}
