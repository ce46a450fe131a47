//! A worker: one event loop with its connections. A worker never waits for a client. It enqueues
//! frames and writes each send queue until the socket would block.

mod close;
mod connection;
mod context;
mod delivery;
mod groups;
mod rechecks;
mod replay_buffer;
mod states;
mod timers;
mod trends;
mod watched_hosts;

use std::{
    collections::BTreeMap,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use mayfly_auth::Identity;
use mayfly_core::{
    Clock, EntryId, Feed, Position, SynchronizedClock,
    frame::{ErrorFrame, ForbiddenNames, ResumeFailure, ServerFrame},
};
use mayfly_runtime::settings::FanoutSettings;
use metrics::{counter, gauge};
use slab::Slab;

pub(crate) use self::{
    close::DRAIN_RETRY_MS,
    connection::{Credential, Proof, Sink, Stage, wake},
    context::WorkerContext,
    delivery::{BufferedReplay, REPLAY_PAGE_BYTES},
};
use self::{
    close::{DrainSchedule, count_closed},
    connection::{Connection, QueueLimits},
    groups::{GroupKey, Groups},
    replay_buffer::ReplayBuffer,
    watched_hosts::WatchedHosts,
};
use crate::{
    frames::{Encoding, StateFrame},
    hub::{ClientSlot, ConnectionMemory, Hub},
    metrics as names,
    subscription::{Subscription, describe_forbidden},
    worker_event::WorkerEvent,
};

/// The connections of one event loop, and the data that they share.
pub(crate) struct Worker {
    pub(crate) connections: Slab<Connection>,
    groups: Groups,
    replay_buffer: ReplayBuffer,
    /// The newest state of each state feed.
    states: BTreeMap<Feed, Arc<StateFrame>>,
    watched_hosts: WatchedHosts,
    /// The position up to which the worker has delivered entries to live connections. `None` until
    /// the process has reached Redis for the first time.
    position: Option<Position>,
    /// Keys of the connections with new frames in their send queues.
    dirty: Vec<usize>,
    queue_limits: QueueLimits,
    /// The number of the worker within the process.
    number: usize,
    /// The memory that the connections of all workers hold.
    memory: ConnectionMemory,
    /// The earliest time of the next search for the largest connections.
    next_closes_at: Option<Instant>,
    settings: FanoutSettings,
    /// Number of frames that all workers have queued since the process started.
    delivered: Arc<AtomicU64>,
    /// The value of [`Hub::position_interval`].
    position_interval: Duration,
    drain: Option<DrainSchedule>,
    last_tick_at: Instant,
    /// The estimate of the Redis clock, which determines when messages expire.
    clock: Arc<SynchronizedClock>,
}

impl Worker {
    /// Creates the worker with this number.
    pub(crate) fn new(number: usize, hub: &Hub) -> Self {
        let settings = &hub.settings.fanout;
        let queue_limits =
            QueueLimits { frames: settings.queue_frames_max, bytes: settings.queue_bytes_max };
        Self {
            connections: Slab::new(),
            groups: Groups::default(),
            replay_buffer: ReplayBuffer::default(),
            states: BTreeMap::new(),
            watched_hosts: WatchedHosts::new(Arc::clone(&hub.host_registry)),
            position: None,
            dirty: Vec::new(),
            queue_limits,
            number,
            memory: hub.memory.clone(),
            next_closes_at: None,
            settings: settings.clone(),
            delivered: Arc::clone(&hub.delivered),
            position_interval: hub.position_interval(),
            drain: None,
            last_tick_at: Instant::now(),
            clock: Arc::clone(hub.hot.clock()),
        }
    }

    /// Handles an event from the hub.
    pub(crate) fn handle(&mut self, event: WorkerEvent) {
        match event {
            WorkerEvent::Batch(batch) => self.deliver_batch(&batch),
            WorkerEvent::Repositioned(position, missed) => self.reposition(&position, missed),
            WorkerEvent::State(state) => self.deliver_state(&state),
            WorkerEvent::Plays(plays) => self.deliver_plays(&plays),
            WorkerEvent::Trend(frame) => self.deliver_trend(&frame),
            WorkerEvent::Drain(duration) => self.start_drain(duration),
        }
    }

    /// Returns the position up to which the worker has delivered entries to live connections.
    pub(crate) fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// Returns whether a client can resume from a position without a Redis read.
    pub(crate) fn can_replay_from(&self, position: &Position) -> bool {
        self.position.as_ref().is_some_and(|at| at.epoch == position.epoch)
            && self.find_after(position.entry).is_some()
    }

    /// Returns the index of the buffered batch with which a replay after `entry` continues, and the
    /// number of entries to skip in that batch. Returns `None` if `entry` is neither buffered nor
    /// at the current position.
    fn find_after(&self, entry: EntryId) -> Option<(usize, usize)> {
        if self.position.as_ref().is_some_and(|at| at.entry == entry) {
            return Some((self.replay_buffer.len(), 0));
        }
        self.replay_buffer.find_after(entry)
    }

    /// Adds a connection without rights and subscriptions, and returns its key. The connection
    /// receives no data from feeds before `hello`. `slot` counts the connection for its client;
    /// `None` if the connection only has to be closed.
    pub(crate) fn register(
        &mut self,
        sink: Sink,
        encoding: Encoding,
        slot: Option<ClientSlot>,
    ) -> usize {
        gauge!(names::CONNECTIONS).increment(1);
        let first_ping_in = self.next_ping_delay();
        let credential = Credential::none(slot, &self.memory);
        let group_key = Rc::new(GroupKey::new(encoding, Subscription::none(), &self.memory));
        let now = Instant::now();
        let connection =
            Connection::new(sink, credential, group_key, now, first_ping_in, &self.memory);
        self.connections.insert(connection)
    }

    /// Accepts the credentials of a connection. `slot` is `None` if the connection still counts for
    /// the same client. Removes the names that the credentials do not allow from the subscription,
    /// and returns them.
    pub(crate) fn accept(
        &mut self,
        key: usize,
        identity: Identity,
        proof: Option<Proof>,
        slot: Option<ClientSlot>,
    ) -> ForbiddenNames {
        self.connections[key].credential.accept(identity, proof, slot);
        let subscription = self.connections[key].group_key.subscription.clone();
        self.restrict_subscription(key, subscription)
    }

    /// Subscribes a new connection to the names in `subscription` that its credentials allow. An
    /// `error` frame after `hello` reports the other names.
    pub(crate) fn start_subscription(&mut self, key: usize, subscription: Subscription) {
        let forbidden = self.restrict_subscription(key, subscription);
        if !forbidden.is_empty() {
            self.connections[key].add_forbidden(forbidden);
        }
    }

    /// Replaces the subscription of a connection with the names in `subscription` that its
    /// credentials allow. Returns the other names.
    fn restrict_subscription(
        &mut self,
        key: usize,
        mut subscription: Subscription,
    ) -> ForbiddenNames {
        let identity = self.connections[key].credential.identity();
        let forbidden = subscription.restrict(identity, self.groups.filters());
        self.replace_subscription(key, subscription);
        forbidden
    }

    /// Sends an `error` frame with names that the credentials of a connection do not allow. The
    /// frame refers to a client frame of type `reply_to`.
    fn send_forbidden(&mut self, key: usize, names: ForbiddenNames, reply_to: &'static str) {
        let frame = ErrorFrame {
            code: "forbidden",
            message: describe_forbidden(&names),
            reply_to: Some(reply_to),
            forbidden: Some(names),
            ..ErrorFrame::default()
        };
        self.send_frame(key, &ServerFrame::Error(frame), None);
    }

    pub(crate) fn remove(&mut self, key: usize) {
        self.leave_group(key);
        let mut connection = self.connections.remove(key);
        for host in connection.group_key.subscription.watched_hosts() {
            self.watched_hosts.unwatch(key, host);
        }
        if connection.is_dirty {
            self.dirty.retain(|one| *one != key);
        }
        wake(&mut connection.replay_waker);
        if !connection.is_close_counted {
            count_closed("1006");
        }
        add_to_subscription_gauges(&connection.group_key.subscription, -1.0);
        gauge!(names::CONNECTIONS).decrement(1);
    }

    fn leave_group(&mut self, key: usize) {
        if let Some(slot) = self.connections[key].group_slot.take()
            && let Some(moved) = self.groups.leave(slot)
        {
            self.connections[moved].group_slot = Some(slot);
        }
    }

    /// Sends `hello` and starts live delivery at the current position. A new connection also
    /// receives the initial states. If the connection could not resume, `failure` is the reason.
    pub(crate) fn start_live(&mut self, key: usize, failure: Option<ResumeFailure>) {
        let Some(position) = self.position.clone() else { return };
        if !self.connections[key].is_open() {
            return;
        }
        let is_new = self.connections[key].stage == Stage::Starting;
        self.send_hello(key, &position, failure.map(|_| false), failure);
        if is_new {
            self.send_initial_states(key);
        }
        self.go_live(key, position.entry);
    }

    /// Sends `hello` with `resumed: true` and the initial states, and marks the connection as
    /// replaying.
    pub(crate) fn start_replay(&mut self, key: usize, since: &Position) {
        self.send_hello(key, since, Some(true), None);
        self.send_initial_states(key);
        self.connections[key].stage = Stage::Replaying;
        self.connections[key].delivered_to = since.entry;
    }

    fn send_hello(
        &mut self,
        key: usize,
        position: &Position,
        resumed: Option<bool>,
        reason: Option<ResumeFailure>,
    ) {
        let connection = self.connections[key].id.to_string();
        let ping_interval_ms = u64::try_from(self.settings.ping_interval.as_millis());
        let hello = ServerFrame::Hello {
            connection: &connection,
            position,
            resumed,
            reason,
            ping_interval_ms: ping_interval_ms.unwrap_or(u64::MAX),
            time: self.clock.now(),
            expires_at: self.connections[key].credential.ends_at(),
        };
        self.send_frame(key, &hello, Some(position));
        if let Some(names) = self.connections[key].forbidden.take() {
            self.send_forbidden(key, *names, "connect");
        }
    }

    /// Starts live delivery to a connection that has received everything up to `from`.
    fn go_live(&mut self, key: usize, from: EntryId) {
        let connection = &mut self.connections[key];
        connection.stage = Stage::Live;
        connection.delivered_to = from;
        connection.group_slot = Some(self.groups.join(key, &mut connection.group_key));
    }

    /// Changes the subscription of a connection. The caller has checked its new names.
    pub(crate) fn change_subscription(&mut self, key: usize, mut subscription: Subscription) {
        let identity = self.connections[key].credential.identity();
        subscription.compile(identity, self.groups.filters());
        self.replace_subscription(key, subscription);
    }

    /// Replaces the subscription of a connection, whose rights have been compiled, and moves the
    /// connection to the matching group.
    fn replace_subscription(&mut self, key: usize, subscription: Subscription) {
        if subscription == self.connections[key].group_key.subscription {
            return;
        }
        self.leave_group(key);
        add_to_subscription_gauges(&subscription, 1.0);
        let encoding = self.connections[key].group_key.encoding;
        let group_key = GroupKey::new(encoding, subscription, &self.memory);
        let before = std::mem::replace(&mut self.connections[key].group_key, Rc::new(group_key));
        add_to_subscription_gauges(&before.subscription, -1.0);
        self.update_watched_hosts(key, &before.subscription);
        // A starting connection receives its initial states after `hello`.
        if self.connections[key].stage != Stage::Starting {
            self.mark_new_feeds_pending(key, Some(&before.subscription));
        }
        let connection = &mut self.connections[key];
        if connection.stage == Stage::Live {
            connection.group_slot = Some(self.groups.join(key, &mut connection.group_key));
        }
    }

    /// Counts frames that were queued for connections.
    fn count_delivered(&self, frames: usize) {
        counter!(names::DELIVERIES_TOTAL).increment(frames as u64);
        self.delivered.fetch_add(frames as u64, Ordering::Relaxed);
    }

    /// Returns the keys of the connections that satisfy a predicate.
    fn keys(&self, predicate: impl Fn(&Connection) -> bool) -> impl Iterator<Item = usize> {
        self.connections
            .iter()
            .filter(move |(_, connection)| predicate(connection))
            .map(|(key, _)| key)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The remaining workers must not wait for a report from this worker.
        self.memory.report_largest(self.number, 0);
    }
}

/// Adds `delta` to the gauge of each feed that a subscription includes.
fn add_to_subscription_gauges(subscription: &Subscription, delta: f64) {
    for feed in Feed::ALL.into_iter().filter(|feed| subscription.has_feed(*feed)) {
        gauge!(names::SUBSCRIPTIONS, "feed" => feed.as_str()).increment(delta);
    }
}

#[cfg(test)]
impl Worker {
    /// Adds a connection with all rights and this subscription, and returns its key.
    pub(crate) fn register_open(
        &mut self,
        sink: Sink,
        encoding: Encoding,
        subscription: Subscription,
    ) -> usize {
        let key = self.register(sink, encoding, None);
        self.accept(key, Identity::Open, None, None);
        self.start_subscription(key, subscription);
        assert!(self.connections[key].forbidden.is_none());
        key
    }
}
