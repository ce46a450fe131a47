//! The connections of the process: one shard a thread, and what all of them are told.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use mayfly_core::{Position, frame::NotResumed};
use mayfly_hot::{FanoutReport, Hot};
use mayfly_http::{Code, Problem};
use mayfly_runtime::{Lifecycle, Settings};
use tokio::sync::{Notify, mpsc};
use tracing::warn;

use crate::{
    batch::Batch, plays::Plays, rising::Rising, shard::CLOSE_TIMEOUT, state::State,
    subscription::Feed, watched::Watched,
};

/// What may wait for a thread; then the feed waits for it, and Redis keeps what comes.
const NEWS_MAX: usize = 64;
/// The longest that a connection for which nothing comes is not told where it stands.
const POSITION_INTERVAL_MAX: Duration = Duration::from_secs(60);
/// Of the time for which the stream is kept, the part after which it is told at the latest.
const POSITIONS_PER_WINDOW: u32 = 3;
/// When who is refused may come again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// What is kept of the time to leave for the last Closes, and for the server behind them.
const LEAVE_MARGIN: Duration = Duration::from_secs(9);
/// How often a drain looks whether all connections are gone.
const DRAIN_LOOK: Duration = Duration::from_millis(50);

/// What a shard is told.
#[derive(Clone)]
pub(crate) enum News {
    /// The next entries of the stream.
    Batch(Arc<Batch>),
    /// Live delivery goes on from another point; with a reason, something may have been missed.
    Moved(Position, Option<NotResumed>),
    /// The newest state of a feed.
    State(Arc<State>),
    /// Counts that were published.
    Plays(Arc<Plays>),
    /// The newest of a host.
    Rising(Arc<Rising>),
    /// All connections are to be closed over this time.
    Drain(Duration),
}

/// All connections of the process.
pub(crate) struct Hub {
    pub(crate) hot: Hot,
    pub(crate) settings: Arc<Settings>,
    pub(crate) lifecycle: Lifecycle,
    /// Connections that are open or about to be.
    connections: AtomicUsize,
    /// Frames that connections were handed.
    pub(crate) delivered: Arc<AtomicU64>,
    pub(crate) watched: Arc<Watched>,
    /// Told when a shard has ended.
    broken: Notify,
    known: Mutex<Known>,
}

/// Under one lock, so that a shard that comes late neither misses nor repeats anything.
#[derive(Default)]
struct Known {
    shards: Vec<mpsc::Sender<News>>,
    at: Option<Position>,
    states: BTreeMap<Feed, Arc<State>>,
}

impl Hub {
    pub(crate) fn new(hot: Hot, settings: Arc<Settings>, lifecycle: Lifecycle) -> Arc<Self> {
        Arc::new(Self {
            hot,
            settings,
            lifecycle,
            connections: AtomicUsize::new(0),
            delivered: Arc::default(),
            watched: Arc::default(),
            broken: Notify::new(),
            known: Mutex::default(),
        })
    }

    /// Adds a shard; gives what the others have been told, and what it is told from then on.
    pub(crate) fn register(&self) -> (Vec<News>, mpsc::Receiver<News>) {
        let (entrance, news) = mpsc::channel(NEWS_MAX);
        let mut known = self.lock();
        known.shards.push(entrance);
        let at = known.at.iter().map(|at| News::Moved(at.clone(), None));
        let states = known.states.values().map(|state| News::State(Arc::clone(state)));
        (at.chain(states).collect(), news)
    }

    /// Tells all shards; waits for those that are busy.
    pub(crate) async fn tell(&self, news: News) {
        let shards = {
            let mut known = self.lock();
            match &news {
                News::Batch(batch) => known.at = Some(batch.end.clone()),
                News::Moved(position, _) => known.at = Some(position.clone()),
                News::State(state) => {
                    known.states.insert(state.feed, Arc::clone(state));
                }
                News::Plays(_) | News::Rising(_) | News::Drain(_) => {}
            }
            known.shards.clone()
        };
        for shard in shards {
            // In a drain, threads end one by one.
            if shard.send(news.clone()).await.is_err() && !self.lifecycle.is_draining() {
                self.broken.notify_one();
            }
        }
    }

    /// Waits until a shard has ended before the process: its connections get nothing any more.
    pub(crate) async fn be_broken(&self) {
        self.broken.notified().await;
    }

    /// After so long without a frame, a connection is told where it stands.
    pub(crate) fn position_interval(&self) -> Duration {
        (self.settings.queue.resume_window / POSITIONS_PER_WINDOW).min(POSITION_INTERVAL_MAX)
    }

    /// How many connections there are, and how much they were handed.
    pub(crate) fn report(&self) -> FanoutReport {
        FanoutReport {
            connections: self.connections.load(Ordering::Relaxed) as u64,
            delivered: self.delivered.load(Ordering::Relaxed),
        }
    }

    /// A place for one more connection.
    ///
    /// # Errors
    /// 503 where the process leaves, or has as many as it may have.
    pub(crate) fn admit(self: &Arc<Self>) -> Result<Seat, Problem> {
        if self.lifecycle.is_draining() {
            let problem = Problem::new(Code::Unavailable).detail("This process leaves.");
            return Err(problem.retry_after(RETRY_AFTER));
        }
        let seat = Seat { hub: Arc::clone(self) };
        let others = self.connections.fetch_add(1, Ordering::Relaxed);
        if others < self.settings.fanout.connections_max {
            return Ok(seat);
        }
        let problem =
            Problem::new(Code::Overloaded).detail("There are as many connections as may be.");
        Err(problem.retry_after(RETRY_AFTER))
    }

    /// Closes all connections, from the beginning of the drain of the process on. What is left
    /// when the last of them had its time is cut off with the process.
    pub(crate) async fn drain(self: Arc<Self>) {
        let left = self.settings.lifecycle.shutdown_timeout.saturating_sub(LEAVE_MARGIN);
        let over = self.settings.fanout.drain.min(left);
        if over < self.settings.fanout.drain {
            warn!(drain = ?over, "fanout.drain is cut: it ends before lifecycle.shutdown_timeout");
        }
        self.tell(News::Drain(over)).await;
        let all_gone = async {
            while self.connections.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(DRAIN_LOOK).await;
            }
        };
        if tokio::time::timeout(over + CLOSE_TIMEOUT + Duration::from_secs(1), all_gone)
            .await
            .is_err()
        {
            let connections = self.connections.load(Ordering::Relaxed);
            warn!(connections, "leaving connections that do not end");
        }
    }

    /// A panic elsewhere must not take the hub with it: it is whole between any two lines.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one connection; free again when it is dropped.
pub(crate) struct Seat {
    hub: Arc<Hub>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.hub.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
