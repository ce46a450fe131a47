//! The connections of one thread. Nothing in here waits: what comes is put into queues, and each
//! queue is written as far as its socket takes it.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use mayfly_core::{
    EntryId, Position,
    frame::{NotResumed, ServerFrame},
};
use mayfly_runtime::{
    metrics as names,
    settings::{Fanout, SlowConsumer},
};
use metrics::{counter, gauge, histogram};
use slab::Slab;
use tracing::debug;

use crate::{
    batch::{Batch, Encoding, Selection, encode_json},
    client::{Bounds, Client, Gap, Sink, Stage, wake},
    groups::{Groups, Interest},
    recent::Recent,
    websocket::{Close, CloseCode, PING, encode_close},
};

/// How long a connection may take to read its Close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// A ping comes up to a tenth of its interval earlier: connections that came together part.
const PING_SPREAD: f64 = 0.1;
/// Keeps a way through proxies open where there are no pings.
const COMMENT: Bytes = Bytes::from_static(b":\n\n");
/// The longest that a client waits after a drain until it comes back, and the shortest, in
/// milliseconds.
const RETRY_AFTER_MS: std::ops::RangeInclusive<u64> = 100..=2_000;

/// The connections of one thread.
pub(crate) struct Shard {
    pub(crate) clients: Slab<Client>,
    groups: Groups,
    recent: Recent,
    /// Up to where connections that are live have been served; nothing before Redis was reached.
    at: Option<Position>,
    /// Connections with something new in their queue.
    dirty: Vec<usize>,
    bounds: Bounds,
    settings: Fanout,
    /// After so long without a frame, a connection is told where it stands.
    position_interval: Duration,
    drain: Option<Drain>,
}

/// Closing all connections one after the other.
struct Drain {
    began_at: Instant,
    over: Duration,
    connections: usize,
    closed: usize,
}

impl Shard {
    pub(crate) fn new(settings: &Fanout, position_interval: Duration) -> Self {
        Self {
            clients: Slab::new(),
            groups: Groups::default(),
            recent: Recent::default(),
            at: None,
            dirty: Vec::new(),
            bounds: Bounds { frames: settings.queue_frames_max, bytes: settings.queue_bytes_max },
            settings: settings.clone(),
            position_interval,
            drain: None,
        }
    }

    /// Up to where connections that are live have been served.
    pub(crate) fn at(&self) -> Option<&Position> {
        self.at.as_ref()
    }

    /// Whether a point is known without asking Redis.
    pub(crate) fn knows(&self, position: &Position) -> bool {
        self.at.as_ref().is_some_and(|at| at.epoch == position.epoch)
            && self.behind(position.entry).is_some()
    }

    fn behind(&self, entry: EntryId) -> Option<Vec<(Arc<Batch>, usize)>> {
        if self.at.as_ref().is_some_and(|at| at.entry == entry) {
            return Some(Vec::new());
        }
        self.recent.behind(entry)
    }

    // Coming and going.

    /// Takes a connection in; it gets nothing before it is greeted.
    pub(crate) fn register(&mut self, sink: Sink, interest: Interest) -> usize {
        gauge!(names::CONNECTIONS).increment(1);
        let ping_in = self.next_ping();
        self.clients.insert(Client::new(sink, Rc::new(interest), Instant::now(), ping_in))
    }

    /// Lets go of a connection.
    pub(crate) fn remove(&mut self, key: usize) {
        self.leave_group(key);
        let mut client = self.clients.remove(key);
        if client.is_dirty {
            self.dirty.retain(|one| *one != key);
        }
        wake(&mut client.drained);
        if !client.is_counted {
            count_closed("1006");
        }
        gauge!(names::CONNECTIONS).decrement(1);
    }

    fn leave_group(&mut self, key: usize) {
        if let Some(place) = self.clients[key].place.take()
            && let Some(moved) = self.groups.leave(place)
        {
            self.clients[moved].place = Some(place);
        }
    }

    /// Tells a connection where live delivery begins, and makes it live from there on.
    pub(crate) fn greet_live(&mut self, key: usize, refused: Option<NotResumed>) {
        let Some(at) = self.at.clone() else { return };
        self.greet(key, &at, refused.map(|_| false), refused);
        self.make_live(key, at.entry);
    }

    /// Tells a connection that it goes on where it was.
    pub(crate) fn greet_resumed(&mut self, key: usize, since: &Position) {
        self.greet(key, since, Some(true), None);
        self.clients[key].stage = Stage::Replaying;
        self.clients[key].last_entry = since.entry;
    }

    fn greet(
        &mut self,
        key: usize,
        position: &Position,
        resumed: Option<bool>,
        reason: Option<NotResumed>,
    ) {
        let connection = self.clients[key].id.to_string();
        let ping_interval_ms = u64::try_from(self.settings.ping_interval.as_millis());
        let hello = ServerFrame::Hello {
            connection: &connection,
            position,
            resumed,
            reason,
            ping_interval_ms: ping_interval_ms.unwrap_or(u64::MAX),
        };
        self.tell(key, &hello, Some(position));
    }

    fn make_live(&mut self, key: usize, from: EntryId) {
        let client = &mut self.clients[key];
        client.stage = Stage::Live;
        client.last_entry = from;
        client.place = Some(self.groups.join(key, &mut client.interest));
    }

    /// Changes what a connection wants.
    pub(crate) fn change_interest(&mut self, key: usize, interest: Interest) {
        self.leave_group(key);
        let client = &mut self.clients[key];
        client.interest = Rc::new(interest);
        if client.stage == Stage::Live {
            client.place = Some(self.groups.join(key, &mut client.interest));
        }
    }

    // What comes from the stream.

    /// Gives a batch to everybody whom it concerns.
    pub(crate) fn deliver(&mut self, batch: &Arc<Batch>) {
        self.recent.push(Arc::clone(batch));
        self.at = Some(batch.end.clone());
        let before = Position { entry: batch.before, ..batch.end.clone() };
        let (mut slow, now) = (Vec::new(), Instant::now());
        for (group, picked) in self.groups.pick(batch) {
            let interest = self.groups.interest(group);
            let Some(selection) = batch.select(interest.encoding, &interest.subscription, &picked)
            else {
                continue;
            };
            let mut delivered = 0;
            for &key in self.groups.members(group) {
                let client = &mut self.clients[key];
                if offer(client, &selection, self.bounds, now) {
                    delivered += selection.frames;
                    mark(&mut self.dirty, client, key);
                } else {
                    slow.push((key, selection.frames));
                }
            }
            counter!(names::DELIVERIES_TOTAL).increment(delivered as u64);
        }
        for (key, frames) in slow {
            self.note_slow(key, frames, &before);
        }
    }

    /// What becomes of a connection whose queue has no room for these frames.
    fn note_slow(&mut self, key: usize, frames: usize, before: &Position) {
        counter!(names::DROPPED_TOTAL, "reason" => "slow_consumer").increment(frames as u64);
        match self.settings.slow_consumer {
            SlowConsumer::Close => self.close(key, &CloseCode::SlowConsumer.into()),
            SlowConsumer::Drop => {
                let client = &mut self.clients[key];
                let position = Position { entry: client.last_entry, ..before.clone() };
                let gap = client.gap.get_or_insert_with(|| Box::new(Gap { dropped: 0, position }));
                gap.dropped += frames;
            }
        }
    }

    /// Goes to another point: the first one, or one of another epoch. With a reason, connections
    /// are told that they may have missed something.
    pub(crate) fn move_to(&mut self, position: &Position, missed: Option<NotResumed>) {
        self.recent.clear();
        self.at = Some(position.clone());
        let live: Vec<_> = self.keys(|client| client.stage == Stage::Live).collect();
        for key in live {
            self.clients[key].last_entry = position.entry;
            if let Some(reason) = missed {
                self.greet(key, position, Some(false), Some(reason));
            }
        }
    }

    // What one connection gets.

    /// Brings a connection that has everything up to a point to the present, if that can be done
    /// from what is kept here; in steps where it is much. Gives up to where it was brought.
    pub(crate) fn bring_forward(&mut self, key: usize, from: EntryId) -> Forward {
        let Some(at) = self.at.clone() else { return Forward::Unknown };
        let Some(batches) = self.behind(from) else { return Forward::Unknown };
        let step_bytes = self.bounds.bytes / 2;
        let step_frames = self.bounds.frames / 2;
        let (mut bytes, mut frames) = (0, 0);
        for (batch, skip) in batches {
            if bytes > 0 && (bytes + batch.weight() > step_bytes || frames > step_frames) {
                return Forward::To(batch.before);
            }
            let interest = Rc::clone(&self.clients[key].interest);
            let picked = batch.pick(&interest.subscription, skip);
            if let Some(selection) =
                batch.select(interest.encoding, &interest.subscription, &picked)
            {
                bytes += selection.bytes.len();
                frames += selection.frames;
                self.give(key, selection);
            }
        }
        self.make_live(key, at.entry);
        Forward::Live
    }

    /// Gives a connection a part of what it missed.
    pub(crate) fn give(&mut self, key: usize, selection: Selection) {
        counter!(names::DELIVERIES_TOTAL).increment(selection.frames as u64);
        let client = &mut self.clients[key];
        client.last_entry = selection.last;
        client.last_frame_at = Instant::now();
        self.push(key, selection.bytes, selection.frames);
    }

    /// Tells one connection something, in its turn.
    pub(crate) fn tell(
        &mut self,
        key: usize,
        frame: &ServerFrame<'_>,
        position: Option<&Position>,
    ) {
        let client = &mut self.clients[key];
        if position.is_some() {
            client.last_frame_at = Instant::now();
        }
        let mut bytes = Vec::new();
        encode_json(&mut bytes, client.interest.encoding, position, &frame.to_json());
        self.push(key, bytes.into(), 1);
    }

    /// Puts an answer of the protocol into the queue; who asks and does not read is slow.
    pub(crate) fn answer(&mut self, key: usize, bytes: Bytes) {
        if self.clients[key].has_room(bytes.len(), 1, self.bounds) {
            self.push(key, bytes, 1);
        } else {
            self.close(key, &CloseCode::SlowConsumer.into());
        }
    }

    fn push(&mut self, key: usize, bytes: Bytes, frames: usize) {
        let client = &mut self.clients[key];
        client.outbound.push(bytes, frames);
        mark(&mut self.dirty, client, key);
    }

    /// Writes to every connection that has something new.
    pub(crate) fn flush(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        for &key in &dirty {
            self.clients[key].is_dirty = false;
            self.clients[key].flush();
            self.end_gap(key);
        }
        // Not to be made anew each time.
        if self.dirty.is_empty() {
            self.dirty = dirty;
            self.dirty.clear();
        }
    }

    /// Writes to one connection, whose socket has room again.
    pub(crate) fn flush_one(&mut self, key: usize) {
        self.clients[key].flush();
        self.end_gap(key);
    }

    /// Says how much was dropped as soon as there is room again: half of the queue, so that gaps
    /// do not follow each other frame by frame.
    fn end_gap(&mut self, key: usize) {
        let client = &mut self.clients[key];
        let has_room = client.outbound.frames() * 2 <= self.bounds.frames
            && client.outbound.bytes() * 2 <= self.bounds.bytes;
        if has_room
            && client.is_open()
            && let Some(gap) = client.gap.take()
        {
            let Gap { dropped, position } = *gap;
            let frame = ServerFrame::Gap { dropped: dropped as u64, position: &position };
            self.tell(key, &frame, Some(&position));
            self.clients[key].flush();
        }
    }

    // Ending.

    /// Ends a connection from this side: what is not begun is let go of, and the Close is tried
    /// for [`CLOSE_TIMEOUT`].
    pub(crate) fn close(&mut self, key: usize, close: &Close) {
        if !self.clients[key].is_open() {
            return;
        }
        let client = &self.clients[key];
        debug!(
            connection.id = %client.id,
            close.code = close.code.number(),
            close.reason = close.reason,
            "closing"
        );
        self.count_end(key, &close.code.number().to_string());
        let frame = match self.clients[key].interest.encoding {
            Encoding::WebSocket => encode_close(close),
            Encoding::Events => end_of_events(close),
        };
        self.begin_close(key, frame, close.code == CloseCode::SlowConsumer);
    }

    /// Ends a connection as the other side wants it, with this frame as the answer.
    pub(crate) fn follow_close(&mut self, key: usize, code: Option<u16>, answer: Bytes) {
        if !self.clients[key].is_open() {
            return;
        }
        let label = match code {
            Some(1000) => "1000",
            Some(1001) => "1001",
            None => "1005",
            Some(_) => "other",
        };
        self.count_end(key, label);
        self.clients[key].has_parted = true;
        self.begin_close(key, answer, false);
    }

    fn count_end(&mut self, key: usize, code: &str) {
        self.clients[key].is_counted = true;
        count_closed(code);
    }

    fn begin_close(&mut self, key: usize, frame: Bytes, discards: bool) {
        self.leave_group(key);
        let client = &mut self.clients[key];
        client.stage = Stage::Closing;
        client.close_until = Some(Instant::now() + CLOSE_TIMEOUT);
        client.gap = None;
        let dropped = if discards { client.outbound.discard() } else { 0 };
        counter!(names::DROPPED_TOTAL, "reason" => "slow_consumer").increment(dropped as u64);
        wake(&mut client.drained);
        wake(&mut client.task);
        if !frame.is_empty() {
            self.push(key, frame, 0);
        }
    }

    // What time brings.

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Instant) {
        let position = self.at.clone();
        let due: Vec<_> = self
            .clients
            .iter()
            .filter(|(_, client)| self.is_due(client, now))
            .map(|(key, _)| key)
            .collect();
        for key in due {
            self.attend(key, now, position.as_ref());
        }
        self.close_drained(now);
        self.flush();
    }

    fn is_due(&self, client: &Client, now: Instant) -> bool {
        now >= client.ping_at
            || client.pong_until.is_some_and(|until| now >= until)
            || client.close_until.is_some_and(|until| now >= until)
            || now >= client.last_frame_at + self.position_interval
    }

    fn attend(&mut self, key: usize, now: Instant, position: Option<&Position>) {
        let next_ping = self.next_ping();
        let client = &mut self.clients[key];
        if client.close_until.is_some_and(|until| now >= until) {
            // Told and silent, or it could not even be told.
            if !client.outbound.is_empty() {
                counter!(names::DROPPED_TOTAL, "reason" => "close_timeout").increment(1);
            }
            client.set_over();
            return;
        }
        if !client.is_open() {
            return;
        }
        if client.pong_until.is_some_and(|until| now >= until) {
            self.close(key, &CloseCode::NoPong.into());
            return;
        }
        if now >= client.ping_at {
            client.ping_at = now + next_ping;
            let bytes = match client.sink {
                Sink::Socket(_) => {
                    client.pong_until = Some(now + self.settings.pong_timeout);
                    PING
                }
                Sink::Events => COMMENT,
            };
            self.push(key, bytes, 0);
        }
        self.tell_position(key, now, position);
    }

    /// Tells a connection for which nothing came where it stands, so that it can go on from there.
    fn tell_position(&mut self, key: usize, now: Instant, position: Option<&Position>) {
        let client = &self.clients[key];
        let wants = client.stage == Stage::Live
            && client.gap.is_none()
            && client.interest.subscription.has_messages()
            && now >= client.last_frame_at + self.position_interval;
        if wants && let Some(position) = position {
            self.clients[key].last_entry = position.entry;
            self.tell(key, &ServerFrame::Position { position }, Some(position));
        }
    }

    fn next_ping(&self) -> Duration {
        self.settings.ping_interval.mul_f64(1.0 - PING_SPREAD * fastrand::f64())
    }

    // Leaving.

    /// Begins to close all connections, evenly over this time.
    pub(crate) fn begin_drain(&mut self, over: Duration) {
        let connections = self.clients.len();
        self.drain = Some(Drain { began_at: Instant::now(), over, connections, closed: 0 });
    }

    /// Closes as many connections as are due in a drain.
    pub(crate) fn close_drained(&mut self, now: Instant) {
        let Some(drain) = &mut self.drain else { return };
        let elapsed = now - drain.began_at;
        let is_last = elapsed >= drain.over;
        let due = if is_last {
            usize::MAX
        } else {
            scale(drain.connections, elapsed, drain.over).saturating_sub(drain.closed)
        };
        let keys: Vec<_> = self.keys(Client::is_open).take(due).collect();
        if let Some(drain) = &mut self.drain {
            drain.closed += keys.len();
        }
        for key in keys {
            let retry_after_ms = fastrand::u64(RETRY_AFTER_MS);
            let reason = format!("retry_after_ms={retry_after_ms}");
            self.close(key, &Close::with_reason(CloseCode::GoingAway, reason));
        }
        self.flush();
    }

    fn keys(&self, which: impl Fn(&Client) -> bool) -> impl Iterator<Item = usize> {
        self.clients.iter().filter(move |(_, client)| which(client)).map(|(key, _)| key)
    }
}

/// How far a connection was brought from what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forward {
    /// To the present.
    Live,
    /// Up to this entry; more is there.
    To(EntryId),
    /// Not at all: the point is not kept here.
    Unknown,
}

/// Puts a selection into a connection's queue if there is room, after writing what can be written.
fn offer(client: &mut Client, selection: &Selection, bounds: Bounds, now: Instant) -> bool {
    let (bytes, frames) = (selection.bytes.len(), selection.frames);
    if client.gap.is_some() {
        return false;
    }
    if !client.has_room(bytes, frames, bounds) {
        client.flush();
        if !client.has_room(bytes, frames, bounds) {
            return false;
        }
    }
    client.last_entry = selection.last;
    client.last_frame_at = now;
    client.outbound.push(selection.bytes.clone(), frames);
    true
}

fn mark(dirty: &mut Vec<usize>, client: &mut Client, key: usize) {
    if !client.is_dirty {
        client.is_dirty = true;
        dirty.push(key);
    }
}

/// The last words of server-sent events: when to come back. Who must not come back cannot be told.
fn end_of_events(close: &Close) -> Bytes {
    let retry = close.reason.strip_prefix("retry_after_ms=");
    retry.map_or_else(Bytes::new, |retry| Bytes::from(format!("retry: {retry}\n\n")))
}

/// The part of `whole` that falls on `elapsed` of `over`.
fn scale(whole: usize, elapsed: Duration, over: Duration) -> usize {
    let part = whole as u128 * elapsed.as_nanos() / over.as_nanos().max(1);
    usize::try_from(part).unwrap_or(whole).min(whole)
}

fn count_closed(code: &str) {
    counter!(names::CLOSED_TOTAL, "code" => code.to_owned()).increment(1);
}

/// Notes how long the oldest entry of a batch took from its acceptance until it was written.
pub(crate) fn note_delivery(batch: &Batch, now_millis: i64) {
    let accepted = i64::try_from(batch.first_millis()).unwrap_or(i64::MAX);
    let millis = u32::try_from(now_millis.saturating_sub(accepted)).unwrap_or(0);
    histogram!(names::DELIVERY_SECONDS).record(f64::from(millis) / 1000.0);
}
