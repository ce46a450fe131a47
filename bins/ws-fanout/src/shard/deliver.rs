//! Putting what comes into queues, and writing these.

use std::{rc::Rc, sync::Arc, time::Instant};

use bytes::Bytes;
use mayfly_core::{
    EntryId, Position,
    frame::{NotResumed, ServerFrame},
};
use mayfly_runtime::{metrics as names, settings::SlowConsumer};
use metrics::{counter, histogram};

use super::Shard;
use crate::{
    batch::{Batch, Selection, encode_json},
    client::{Bounds, Client, Gap, Stage},
    websocket::CloseCode,
};

impl Shard {
    /// Gives a batch to everybody whom it concerns.
    pub(crate) fn deliver(&mut self, batch: &Arc<Batch>) {
        self.recent.push(Arc::clone(batch));
        self.at = Some(batch.end.clone());
        let (mut slow, mut delivered, now) = (Vec::new(), 0, Instant::now());
        for (group, picked) in self.groups.pick(batch) {
            let interest = self.groups.interest(group);
            let Some(selection) = batch.select(interest.encoding, &interest.subscription, &picked)
            else {
                continue;
            };
            for &key in self.groups.members(group) {
                let client = &mut self.clients[key];
                if offer(client, &selection, self.bounds, now) {
                    delivered += selection.frames;
                    mark(&mut self.dirty, client, key);
                } else {
                    slow.push((key, selection.frames));
                }
            }
        }
        self.count_delivered(delivered);
        for (key, frames) in slow {
            self.note_slow(key, frames, &batch.before);
        }
    }

    /// What becomes of a connection whose queue has no room for these frames.
    pub(super) fn note_slow(&mut self, key: usize, frames: usize, before: &Position) {
        counter!(names::DROPPED_TOTAL, "reason" => "slow_consumer").increment(frames as u64);
        match self.settings.slow_consumer {
            SlowConsumer::Close => self.close(key, &CloseCode::SlowConsumer.into()),
            SlowConsumer::Drop => {
                let client = &mut self.clients[key];
                let position = Position { entry: client.served_to, ..before.clone() };
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
            self.clients[key].served_to = position.entry;
            match missed {
                Some(reason) => {
                    // What was dropped cannot be had any more, and this says so.
                    self.clients[key].gap = None;
                    self.greet(key, position, Some(false), Some(reason));
                }
                // Its position is of an epoch that is over.
                None => self.tell_position(key, position),
            }
        }
    }

    /// Brings a connection that has everything up to a point to the present, if that can be done
    /// from what is kept here; in steps where it is much. Gives up to where it was brought.
    pub(crate) fn bring_forward(&mut self, key: usize, from: EntryId) -> Forward {
        let Some(at) = self.at.clone() else { return Forward::Unknown };
        let Some((first, mut skip)) = self.behind(from) else { return Forward::Unknown };
        let interest = Rc::clone(&self.clients[key].interest);
        let (mut bytes, mut frames) = (0, 0);
        for index in first.. {
            let Some(batch) = self.recent.get(index) else { break };
            let is_enough =
                bytes + batch.weight() > self.bounds.bytes / 2 || frames > self.bounds.frames / 2;
            if bytes > 0 && is_enough {
                return Forward::To(batch.before.entry);
            }
            let picked = batch.pick(&interest.subscription, skip);
            if let Some(selection) =
                batch.select(interest.encoding, &interest.subscription, &picked)
            {
                bytes += selection.bytes.len();
                frames += selection.frames;
                self.give(key, selection);
            }
            skip = 0;
        }
        self.make_live(key, at.entry);
        Forward::Live
    }

    /// Gives a connection a part of what it missed.
    pub(crate) fn give(&mut self, key: usize, selection: Selection) {
        self.count_delivered(selection.frames);
        let client = &mut self.clients[key];
        client.served_to = selection.last;
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

    /// Puts frames without a position into a queue if there is room, after writing what can be
    /// written; gives whether there was.
    pub(super) fn offer_beside(&mut self, key: usize, bytes: Bytes, frames: usize) -> bool {
        let client = &mut self.clients[key];
        if client.gap.is_some() {
            return false;
        }
        if !client.has_room(bytes.len(), frames, self.bounds) {
            client.flush();
        }
        let has_room = client.has_room(bytes.len(), frames, self.bounds);
        if has_room {
            self.push(key, bytes, frames);
        }
        has_room
    }

    pub(super) fn push(&mut self, key: usize, bytes: Bytes, frames: usize) {
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
            self.make_up(key);
        }
        // Not to be made anew each time.
        if self.dirty.is_empty() {
            self.dirty = dirty;
            self.dirty.clear();
        }
    }

    /// Takes the next piece of an answer, which has been asked for it.
    pub(crate) fn pop(&mut self, key: usize) -> Option<Bytes> {
        let piece = self.clients[key].pop();
        self.make_up(key);
        piece
    }

    /// Writes to one connection, whose socket has room again.
    pub(crate) fn flush_one(&mut self, key: usize) {
        self.clients[key].flush();
        self.make_up(key);
    }

    /// Says how much was dropped, and shows what could not be shown, as soon as there is room again:
    /// half of the queue, so that gaps do not follow each other frame by frame.
    fn make_up(&mut self, key: usize) {
        let client = &mut self.clients[key];
        if client.gap.is_none() && client.owed.is_empty() {
            return;
        }
        let has_room = client.outbound.frames() * 2 <= self.bounds.frames
            && client.outbound.bytes() * 2 <= self.bounds.bytes;
        if !has_room || !client.is_open() {
            return;
        }
        if let Some(gap) = client.gap.take() {
            let Gap { dropped, position } = *gap;
            let frame = ServerFrame::Gap { dropped: dropped as u64, position: &position };
            self.tell(key, &frame, Some(&position));
        }
        self.pay(key);
        self.clients[key].flush();
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
    client.served_to = selection.last;
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

/// Notes how long the oldest entry of a batch took from its acceptance until it was written.
pub(crate) fn note_delivery(batch: &Batch, now_millis: i64) {
    let accepted = i64::try_from(batch.first_millis()).unwrap_or(i64::MAX);
    let millis = u32::try_from(now_millis.saturating_sub(accepted)).unwrap_or(0);
    histogram!(names::DELIVERY_SECONDS).record(f64::from(millis) / 1000.0);
}
