//! The process-wide state: the workers, the events that they receive, and the limits that they
//! share.

mod clients;
mod in_flight;
mod memory;
mod replay_budget;
mod replay_rate;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use mayfly_authenticator::Authenticator;
use mayfly_core::{Feed, Position};
use mayfly_hot::{FanoutReport, HotStore};
use mayfly_http::{Code, Problem};
use mayfly_runtime::{Lifecycle, Settings};
use metrics::counter;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tracing::warn;

use self::in_flight::InFlight;
pub(crate) use self::{
    clients::{ClientSlot, Clients},
    in_flight::SentEvent,
    memory::{ConnectionMemory, Reservation, StoredBytes},
    replay_budget::{ReplayBudget, ReplayShare},
    replay_rate::ReplayRate,
};
use crate::{
    frames::StateFrame, host_registry::HostRegistry, http::ForbiddenLog, metrics as names,
    worker_event::WorkerEvent,
};

/// How long a connection may take to close before the server drops it.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Capacity of a worker's event channel. When a channel is full, the feeds wait, and Redis keeps
/// the data.
const WORKER_EVENTS_MAX: usize = 64;
/// Maximum value of [`Hub::position_interval`].
const POSITION_INTERVAL_MAX: Duration = Duration::from_secs(60);
/// The part of the connections that may be waiting for authentication, as a divisor. Clients
/// without credentials cannot occupy the other connections.
const UNAUTHENTICATED_DIVISOR: usize = 4;
/// Minimum number of position frames that an idle connection receives per resume window.
const POSITIONS_PER_WINDOW: u32 = 3;
/// Value of `Retry-After` for rejected connections.
pub(crate) const REFUSAL_RETRY_AFTER: Duration = Duration::from_secs(1);
/// Part of the shutdown timeout that is reserved for the last Close frames and the HTTP server.
const DRAIN_MARGIN: Duration = Duration::from_secs(9);
/// Interval at which a drain checks whether all connections are closed.
const DRAIN_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The state that all workers of the process share.
pub(crate) struct Hub {
    pub(crate) hot: HotStore,
    pub(crate) settings: Arc<Settings>,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) authenticator: Arc<Authenticator>,
    /// The connections of each client.
    pub(crate) clients: Arc<Clients>,
    /// Number of admitted connections, including connections that are still being set up.
    connections: AtomicUsize,
    /// Number of admitted connections that have not been authenticated.
    unauthenticated: AtomicUsize,
    /// Number of frames queued for connections since the process started.
    pub(crate) delivered: Arc<AtomicU64>,
    pub(crate) host_registry: Arc<HostRegistry>,
    /// The memory that all connections hold.
    pub(crate) memory: ConnectionMemory,
    pub(crate) replay_budget: ReplayBudget,
    pub(crate) replay_rate: ReplayRate,
    pub(crate) forbidden_log: ForbiddenLog,
    in_flight: InFlight,
    /// Notified when a broadcast detects that a worker has exited before the process drains.
    worker_failed: Notify,
    shared: Mutex<Shared>,
}

/// State under a single lock, so that a worker that registers late neither misses an event nor
/// receives an event twice.
#[derive(Default)]
struct Shared {
    workers: Vec<mpsc::Sender<SentEvent>>,
    position: Option<Position>,
    states: BTreeMap<Feed, Arc<StateFrame>>,
}

impl Hub {
    pub(crate) fn new(
        hot: HotStore,
        settings: Arc<Settings>,
        lifecycle: Lifecycle,
        authenticator: Arc<Authenticator>,
    ) -> Arc<Self> {
        let fanout = &settings.fanout;
        let clients = Clients::new(fanout.connections_per_client_max);
        let memory = ConnectionMemory::new(fanout.queued_bytes_max);
        let replay_budget = ReplayBudget::new(fanout.replay_bytes_max);
        Arc::new(Self {
            hot,
            settings,
            lifecycle,
            authenticator,
            clients,
            connections: AtomicUsize::new(0),
            unauthenticated: AtomicUsize::new(0),
            delivered: Arc::default(),
            host_registry: Arc::default(),
            memory,
            replay_budget,
            replay_rate: ReplayRate::new(),
            forbidden_log: ForbiddenLog::default(),
            in_flight: InFlight::default(),
            worker_failed: Notify::new(),
            shared: Mutex::default(),
        })
    }

    /// Registers a worker. Returns its number, the events that bring it to the current state, and
    /// the receiver of all later events.
    pub(crate) fn register(&self) -> (usize, Vec<WorkerEvent>, mpsc::Receiver<SentEvent>) {
        let (sender, events) = mpsc::channel(WORKER_EVENTS_MAX);
        let mut shared = self.shared.lock();
        shared.workers.push(sender);
        let position = shared.position.iter();
        let position = position.map(|at| WorkerEvent::Repositioned(at.clone(), None));
        let states = shared.states.values().map(|state| WorkerEvent::State(Arc::clone(state)));
        (self.memory.add_worker(), position.chain(states).collect(), events)
    }

    /// Sends an event to all workers, and stores its position or state for workers that register
    /// later. Waits while the event channel of a worker is full, or while too many bytes are in
    /// flight.
    pub(crate) async fn broadcast(&self, event: WorkerEvent) {
        let sent = self.in_flight.admit(event).await;
        let event = &sent.event;
        let workers = {
            let mut shared = self.shared.lock();
            match event {
                WorkerEvent::Batch(batch) => shared.position = Some(batch.end.clone()),
                WorkerEvent::Repositioned(position, _) => shared.position = Some(position.clone()),
                WorkerEvent::State(state) => {
                    shared.states.insert(state.feed, Arc::clone(state));
                }
                WorkerEvent::Plays(_) | WorkerEvent::Trend(_) | WorkerEvent::Drain(_) => {}
            }
            shared.workers.clone()
        };
        for worker in workers {
            // During a drain, workers exit at different times.
            if worker.send(sent.clone()).await.is_err() && !self.lifecycle.is_draining() {
                self.worker_failed.notify_one();
            }
        }
    }

    /// Waits until a broadcast detects that a worker has exited unexpectedly. The connections of
    /// that worker receive no more frames.
    pub(crate) async fn wait_for_worker_failure(&self) {
        self.worker_failed.notified().await;
    }

    /// Returns how long a connection may go without a frame that has a position before the server
    /// sends a `position` frame. This frame keeps the position of an idle client within the resume
    /// window.
    pub(crate) fn position_interval(&self) -> Duration {
        (self.settings.queue.resume_window / POSITIONS_PER_WINDOW).min(POSITION_INTERVAL_MAX)
    }

    /// Returns the number of connections and the number of delivered frames.
    pub(crate) fn report(&self) -> FanoutReport {
        FanoutReport {
            connections: self.connections.load(Ordering::Relaxed) as u64,
            delivered: self.delivered.load(Ordering::Relaxed),
        }
    }

    /// Admits a connection, or returns the reason for refusing it. If the client must be
    /// authenticated first, call [`ConnectionPermit::mark_unauthenticated`].
    pub(crate) fn admit(self: &Arc<Self>) -> Result<ConnectionPermit, Refusal> {
        if self.lifecycle.is_draining() {
            return Err(Refusal::Draining);
        }
        let permit = ConnectionPermit { hub: Arc::clone(self), is_authenticated: true };
        let others = self.connections.fetch_add(1, Ordering::Relaxed);
        if others < self.settings.fanout.connections_max {
            return Ok(permit);
        }
        Err(Refusal::Full)
    }

    /// Closes all connections over the drain duration. Connections that are still open after the
    /// last close timeout are dropped when the process exits.
    pub(crate) async fn drain(self: Arc<Self>) {
        let available = self.settings.lifecycle.shutdown_timeout.saturating_sub(DRAIN_MARGIN);
        let duration = self.settings.fanout.drain.min(available);
        if duration < self.settings.fanout.drain {
            warn!(
                drain = ?duration,
                "hub: fanout.drain does not fit into lifecycle.shutdown_timeout; \
                 closing connections over a shorter time"
            );
        }
        self.broadcast(WorkerEvent::Drain(duration)).await;
        let all_closed = async {
            while self.connections.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(DRAIN_POLL_INTERVAL).await;
            }
        };
        let timeout = duration + CLOSE_TIMEOUT + Duration::from_secs(1);
        if tokio::time::timeout(timeout, all_closed).await.is_err() {
            let connections = self.connections.load(Ordering::Relaxed);
            warn!(
                connections,
                "hub: connections did not close within the drain timeout; dropping them"
            );
        }
    }
}

/// The reason for refusing a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The process is draining.
    Draining,
    /// The connection limit has been reached.
    Full,
    /// Too many connections have not been authenticated.
    TooManyUnauthenticated,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let problem = match refusal {
            Refusal::Draining => Self::new(Code::Unavailable)
                .detail("This instance is shutting down. Reconnect to another instance."),
            Refusal::Full => Self::new(Code::Overloaded)
                .detail("This instance has reached its connection limit. Retry later."),
            Refusal::TooManyUnauthenticated => Self::new(Code::Overloaded).detail(
                "Too many connections to this instance have not been authenticated yet. Retry \
                 later.",
            ),
        };
        problem.retry_after(REFUSAL_RETRY_AFTER)
    }
}

/// A permit for one connection, returned to the hub on drop.
pub(crate) struct ConnectionPermit {
    hub: Arc<Hub>,
    is_authenticated: bool,
}

impl ConnectionPermit {
    /// Records that the connection has not been authenticated yet. Returns the reason for refusing
    /// the connection if there are too many such connections.
    pub(crate) fn mark_unauthenticated(&mut self) -> Result<(), Refusal> {
        if !std::mem::replace(&mut self.is_authenticated, false) {
            return Ok(());
        }
        let others = self.hub.unauthenticated.fetch_add(1, Ordering::Relaxed);
        let connections_max = self.hub.settings.fanout.connections_max;
        if others < connections_max.div_ceil(UNAUTHENTICATED_DIVISOR) {
            return Ok(());
        }
        counter!(names::CLIENT_LIMITS_EXCEEDED_TOTAL, "limit" => "unauthenticated").increment(1);
        Err(Refusal::TooManyUnauthenticated)
    }

    /// Records that the connection has been authenticated.
    pub(crate) fn mark_authenticated(&mut self) {
        if !std::mem::replace(&mut self.is_authenticated, true) {
            self.hub.unauthenticated.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.mark_authenticated();
        self.hub.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
impl Hub {
    /// Creates a hub with the default settings, except for these environment variables, and without
    /// access control.
    pub(crate) fn for_tests(env: &[(&str, &str)]) -> Arc<Self> {
        let open = ("MAYFLY_AUTH__MODE", "open");
        let env = env.iter().copied().chain([open]);
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = Arc::new(Settings::from_layers(None, env).expect("valid settings"));
        let hot = HotStore::new(&settings.redis).expect("a valid URL");
        let lifecycle = Lifecycle::new(Duration::from_secs(1));
        Self::new(hot, settings, lifecycle, Authenticator::open())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_without_authentication_occupy_a_quarter_of_the_limit() {
        let hub = Hub::for_tests(&[("MAYFLY_FANOUT__CONNECTIONS_MAX", "8")]);
        let refusal = |refused: Result<ConnectionPermit, Refusal>| refused.err();
        let admit = || -> Result<ConnectionPermit, Refusal> {
            let mut permit = hub.admit()?;
            permit.mark_unauthenticated()?;
            permit.mark_unauthenticated()?;
            Ok(permit)
        };
        let (mut one, two) = (admit(), admit());
        assert_eq!(refusal(admit()), Some(Refusal::TooManyUnauthenticated));
        assert_eq!(hub.report().connections, 2, "a refused connection does not count");
        one.as_mut().expect("admitted").mark_authenticated();
        let three = admit();
        assert!(three.is_ok(), "the first connection has been authenticated");
        let others: Vec<_> = (0..5).map(|_| hub.admit()).collect();
        assert!(others.iter().all(Result::is_ok), "authenticated connections use the rest");
        assert_eq!(refusal(hub.admit()), Some(Refusal::Full));
        assert_eq!(refusal(admit()), Some(Refusal::Full));
        drop((one, two, three, others));
        assert_eq!(hub.report().connections, 0);
        assert_eq!(hub.unauthenticated.load(Ordering::Relaxed), 0);
    }
}
