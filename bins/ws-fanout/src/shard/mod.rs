//! The connections of one thread. Nothing in here waits: what comes is put into queues, and each
//! queue is written as far as its socket takes it.

mod attend;
mod deliver;
mod ending;
mod plays;
mod rising;
mod states;

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use mayfly_core::{
    Clock, EntryId, Host, Position, SystemClock,
    frame::{NotResumed, ServerFrame},
};
use mayfly_runtime::{metrics as names, settings::Fanout};
use metrics::{counter, gauge};
use slab::Slab;

pub(crate) use self::{
    deliver::{Forward, note_delivery},
    ending::CLOSE_TIMEOUT,
};
use self::{
    ending::{Drain, count_closed},
    rising::OfHost,
};
use crate::{
    client::{Bounds, Client, Sink, Stage, wake},
    groups::{Groups, Interest},
    hub::News,
    recent::Recent,
    state::State,
    subscription::{Feed, Subscription},
    watched::Watched,
};

/// The connections of one thread.
pub(crate) struct Shard {
    pub(crate) clients: Slab<Client>,
    groups: Groups,
    recent: Recent,
    /// The newest of the feeds that carry state.
    states: BTreeMap<Feed, Arc<State>>,
    /// The hosts that connections of this thread watch.
    hosts: HashMap<Host, OfHost>,
    /// Those of all threads.
    watched: Arc<Watched>,
    /// Up to where connections that are live have been served; nothing before Redis was reached.
    at: Option<Position>,
    /// Connections with something new in their queue.
    dirty: Vec<usize>,
    bounds: Bounds,
    settings: Fanout,
    /// Frames that connections of all threads were handed.
    delivered: Arc<AtomicU64>,
    /// After so long without a frame, a connection is told where it stands.
    position_interval: Duration,
    drain: Option<Drain>,
    /// When it was last looked for what is due.
    ticked_at: Instant,
}

impl Shard {
    pub(crate) fn new(
        settings: &Fanout,
        position_interval: Duration,
        delivered: Arc<AtomicU64>,
        watched: Arc<Watched>,
    ) -> Self {
        Self {
            clients: Slab::new(),
            groups: Groups::default(),
            recent: Recent::default(),
            states: BTreeMap::new(),
            hosts: HashMap::new(),
            watched,
            at: None,
            dirty: Vec::new(),
            bounds: Bounds { frames: settings.queue_frames_max, bytes: settings.queue_bytes_max },
            settings: settings.clone(),
            delivered,
            position_interval,
            drain: None,
            ticked_at: Instant::now(),
        }
    }

    /// Does what it is told.
    pub(crate) fn hear(&mut self, news: News) {
        match news {
            News::Batch(batch) => self.deliver(&batch),
            News::Moved(position, missed) => self.move_to(&position, missed),
            News::State(state) => self.show(&state),
            News::Plays(plays) => self.deliver_plays(&plays),
            News::Rising(rising) => self.show_rising(&rising),
            News::Drain(over) => self.begin_drain(over),
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

    /// What lies behind a point: the index of a batch, and how many of its entries do not.
    fn behind(&self, entry: EntryId) -> Option<(usize, usize)> {
        if self.at.as_ref().is_some_and(|at| at.entry == entry) {
            return Some((self.recent.len(), 0));
        }
        self.recent.behind(entry)
    }

    /// Takes a connection in; it gets nothing before it is greeted.
    pub(crate) fn register(&mut self, sink: Sink, interest: Interest) -> usize {
        gauge!(names::CONNECTIONS).increment(1);
        let ping_in = self.next_ping();
        count_subscriptions(&interest.subscription, 1.0);
        let client = Client::new(sink, Rc::new(interest), Instant::now(), ping_in);
        let key = self.clients.insert(client);
        self.change_watching(key, None);
        key
    }

    /// Lets go of a connection.
    pub(crate) fn remove(&mut self, key: usize) {
        self.leave_group(key);
        let mut client = self.clients.remove(key);
        for host in client.interest.subscription.watched_hosts() {
            self.end_watching(key, host);
        }
        if client.is_dirty {
            self.dirty.retain(|one| *one != key);
        }
        wake(&mut client.drained);
        if !client.is_counted {
            count_closed("1006");
        }
        count_subscriptions(&client.interest.subscription, -1.0);
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
        if !self.clients[key].is_open() {
            return;
        }
        let is_new = self.clients[key].stage == Stage::Starting;
        self.greet(key, &at, refused.map(|_| false), refused);
        if is_new {
            self.show_first(key);
        }
        self.make_live(key, at.entry);
    }

    /// Tells a connection that it goes on where it was.
    pub(crate) fn greet_resumed(&mut self, key: usize, since: &Position) {
        self.greet(key, since, Some(true), None);
        self.show_first(key);
        self.clients[key].stage = Stage::Replaying;
        self.clients[key].served_to = since.entry;
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
            time: SystemClock.now(),
        };
        self.tell(key, &hello, Some(position));
    }

    fn make_live(&mut self, key: usize, from: EntryId) {
        let client = &mut self.clients[key];
        client.stage = Stage::Live;
        client.served_to = from;
        client.place = Some(self.groups.join(key, &mut client.interest));
    }

    /// Changes what a connection wants.
    pub(crate) fn change_interest(&mut self, key: usize, interest: Interest) {
        self.leave_group(key);
        count_subscriptions(&interest.subscription, 1.0);
        let before = std::mem::replace(&mut self.clients[key].interest, Rc::new(interest));
        count_subscriptions(&before.subscription, -1.0);
        self.change_watching(key, Some(&before.subscription));
        self.owe_more(key, Some(&before.subscription));
        let client = &mut self.clients[key];
        if client.stage == Stage::Live {
            client.place = Some(self.groups.join(key, &mut client.interest));
        }
    }

    /// Counts frames that connections were handed.
    fn count_delivered(&self, frames: usize) {
        counter!(names::DELIVERIES_TOTAL).increment(frames as u64);
        self.delivered.fetch_add(frames as u64, Ordering::Relaxed);
    }

    fn keys(&self, which: impl Fn(&Client) -> bool) -> impl Iterator<Item = usize> {
        self.clients.iter().filter(move |(_, client)| which(client)).map(|(key, _)| key)
    }
}

/// Counts a connection among those that have a feed, or no longer.
fn count_subscriptions(subscription: &Subscription, by: f64) {
    for feed in Feed::ALL.into_iter().filter(|feed| subscription.has_feed(*feed)) {
        gauge!(names::SUBSCRIPTIONS, "feed" => feed.as_str()).increment(by);
    }
}
