//! Visitors as a service knows them: called when somebody asks, while somebody watches, and for every
//! known host once a period.
//!
//! What is asked stands in Redis, and stays there until the outcome is noted: a leader that is killed
//! in the middle of a call is followed by one that calls again, as soon as three seconds have passed
//! since the call before. That a call is made is noted before it is.

use std::{collections::HashMap, sync::Arc, time::Duration};

use mayfly_core::{Clock, Host, Sample, SystemClock, Timestamp};
use mayfly_hot::{Asker, HotError, NoCall, SourceCall, SourceOutcome, Turn};
use mayfly_runtime::metrics as names;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    Sampling,
    chartbeat::{Chartbeat, Reply, Said},
    refresh::Refresh,
    relating::{Relating, relate},
};

/// How often it is looked for who asks.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often it is looked for who watches.
const WATCHED_EVERY: Duration = Duration::from_secs(1);
/// How long a host that is watched, or to be refreshed, and cannot be called for is left alone.
const IDLE: Duration = Duration::from_secs(1);
/// Calls at once, one for a host.
const CALLS_MAX: usize = 32;
/// Of these, calls that nobody waits for.
const REFRESHES_MAX: usize = 10;
/// Hosts that are decided about between two looks at the lease.
const DECISIONS_MAX: usize = 100;
/// The pause after a failure.
const RETRY: Duration = Duration::from_millis(250);

/// Calls the service until the drain, and then waits for the calls that were made.
pub async fn run(sampling: &mut Sampling, draining: &CancellationToken) {
    let mut source = Source::new(sampling);
    while !draining.is_cancelled() || !source.calls.is_empty() {
        let pause = match source.step(draining.is_cancelled()).await {
            Ok(pause) => pause,
            Err(error) => {
                debug!(%error, "cannot call the source now");
                RETRY
            }
        };
        // The outcome of a call is waited for by others, and ends the pause.
        tokio::select! {
            made = source.calls.join_next(), if !source.calls.is_empty() => {
                if let Some(Ok(made)) = made {
                    source.made.push(made);
                }
            }
            () = tokio::time::sleep(pause) => {}
            () = draining.cancelled(), if source.calls.is_empty() => {}
        }
    }
    if let Err(error) = source.settle().await {
        debug!(%error, "what the source said at last is lost");
    }
}

/// A call that was made.
struct Made {
    call: SourceCall,
    reply: Reply,
    /// When the answer came, by the clock of Redis.
    at: Timestamp,
    is_related: bool,
}

struct Source<'a> {
    sampling: &'a mut Sampling,
    chartbeat: Arc<Chartbeat>,
    calls: JoinSet<Made>,
    /// Calls that are made, and whether each is one that nobody waits for.
    calling: HashMap<Host, bool>,
    /// Calls whose outcome is to be noted.
    made: Vec<Made>,
    /// Hosts that are not called for before.
    rests: HashMap<Host, Instant>,
    /// Hosts that are watched, each with when it is to be called for next.
    watched: HashMap<Host, Instant>,
    watched_at: Option<Instant>,
    refresh: Refresh,
    relating: Relating,
}

impl<'a> Source<'a> {
    fn new(sampling: &'a mut Sampling) -> Self {
        let Sampling { settings, hot, cold, .. } = &*sampling;
        let chartbeat = Arc::new(Chartbeat::new(&settings.rising.chartbeat_url));
        let refresh = Refresh::new(cold.clone(), settings.rising.refresh);
        let relating = Relating::new(hot.clone(), cold.clone());
        Self {
            sampling,
            chartbeat,
            calls: JoinSet::new(),
            calling: HashMap::new(),
            made: Vec::new(),
            rests: HashMap::new(),
            watched: HashMap::new(),
            watched_at: None,
            refresh,
            relating,
        }
    }

    /// Notes what became of calls and makes those that are due; gives how long to wait then.
    async fn step(&mut self, is_leaving: bool) -> Result<Duration, HotError> {
        if let Turn::Others(left) = self.sampling.lead.hold().await? {
            self.forget_all();
            return Ok(self.sampling.lead.renew_every().min(left));
        }
        self.settle().await?;
        if is_leaving {
            return Ok(LOOK_EVERY);
        }
        self.relating.step();
        let now = Instant::now();
        self.rests.retain(|_, until| *until > now);
        let leads = self.call_asked().await?
            && self.call_watched(now).await?
            && self.call_to_refresh().await?;
        Ok(if leads { LOOK_EVERY } else { RETRY })
    }

    /// What another process leads is none of ours: its calls are made again where they are still asked.
    fn forget_all(&mut self) {
        self.calls.abort_all();
        self.calls.detach_all();
        self.calling.clear();
        self.made.clear();
        self.rests.clear();
        self.watched.clear();
        self.watched_at = None;
        self.refresh.reset();
    }

    /// Calls for hosts that are asked for; gives false where the lease is lost, as the next two do.
    async fn call_asked(&mut self) -> Result<bool, HotError> {
        let mut decisions = 0;
        for host in self.sampling.hot.list_asked_hosts().await? {
            if decisions == DECISIONS_MAX || self.calls.len() >= CALLS_MAX {
                break;
            }
            if self.calling.contains_key(&host) || self.rests.contains_key(&host) {
                continue;
            }
            decisions += 1;
            match self.call(&host, Asker::Client).await? {
                Err(NoCall::NotLeading) => return Ok(false),
                Err(NoCall::TooSoon(left)) => {
                    self.rests.insert(host, Instant::now() + left);
                }
                Ok(()) | Err(NoCall::NothingToDo | NoCall::Paused(_)) => {}
            }
        }
        Ok(true)
    }

    async fn call_watched(&mut self, now: Instant) -> Result<bool, HotError> {
        if self.watched_at.is_none_or(|at| at + WATCHED_EVERY <= now) {
            let hosts = self.sampling.hot.list_watched_hosts().await?;
            let mut before = std::mem::take(&mut self.watched);
            let next = |host: Host| {
                let next = before.remove(&host).unwrap_or(now);
                (host, next)
            };
            self.watched = hosts.into_iter().map(next).collect();
            self.watched_at = Some(now);
        }
        let due: Vec<_> = self.watched.iter().filter(|(_, next)| **next <= now).collect();
        let due: Vec<_> = due.into_iter().map(|(host, _)| host.clone()).collect();
        for host in due.into_iter().take(DECISIONS_MAX) {
            if self.calls.len() >= CALLS_MAX {
                break;
            }
            if self.calling.contains_key(&host) {
                continue;
            }
            let wait = match self.call(&host, Asker::Watcher).await? {
                Err(NoCall::NotLeading) => return Ok(false),
                Err(NoCall::TooSoon(left)) => left,
                Ok(()) | Err(NoCall::NothingToDo | NoCall::Paused(_)) => IDLE,
            };
            self.watched.insert(host, Instant::now() + wait);
        }
        Ok(true)
    }

    async fn call_to_refresh(&mut self) -> Result<bool, HotError> {
        for _ in 0..DECISIONS_MAX {
            let refreshes = self.calling.values().filter(|is_refresh| **is_refresh).count();
            if refreshes >= REFRESHES_MAX || self.calls.len() >= CALLS_MAX {
                break;
            }
            let Some((host, since)) = self.refresh.next(SystemClock.now()).await else { break };
            if self.calling.contains_key(&host) {
                self.refresh.put_back(host, IDLE);
                continue;
            }
            match self.call(&host, Asker::Refresh(since)).await {
                Err(error) => {
                    self.refresh.put_back(host, RETRY);
                    return Err(error);
                }
                Ok(Err(NoCall::NotLeading)) => return Ok(false),
                Ok(Err(NoCall::TooSoon(left))) => self.refresh.put_back(host, left),
                Ok(Err(NoCall::Paused(left))) => self.refresh.put_back(host, left.max(IDLE)),
                // Without an accepted key it cannot be called for.
                Ok(Ok(()) | Err(NoCall::NothingToDo)) => {}
            }
        }
        Ok(true)
    }

    /// Makes a call for a host if it is to be made now.
    async fn call(&mut self, host: &Host, asker: Asker) -> Result<Result<(), NoCall>, HotError> {
        let Sampling { hot, cold, lead, .. } = &*self.sampling;
        let call = match hot.take_source_call(lead.lease(), host, asker).await? {
            Ok(call) => call,
            Err(why) => return Ok(Err(why)),
        };
        // Killed here: nobody calls, and who leads next does after three seconds.
        let (chartbeat, cold, began) = (Arc::clone(&self.chartbeat), cold.clone(), Instant::now());
        self.calling.insert(host.clone(), call.is_refresh);
        self.calls.spawn(async move {
            let reply = chartbeat.call(&call.host, &call.key).await;
            let at = call.called_at.plus(began.elapsed());
            let is_new = call.is_trial && matches!(reply.said, Said::Pages(_));
            let is_related = !is_new || relate(&cold, &call).await;
            Made { call, reply, at, is_related }
        });
        Ok(Ok(()))
    }

    /// Notes what became of the calls that were made. Where Redis is away, what is not noted is asked for
    /// again.
    async fn settle(&mut self) -> Result<(), HotError> {
        while let Some(made) = self.calls.try_join_next() {
            self.made.extend(made);
        }
        while let Some(made) = self.made.pop() {
            self.calling.remove(&made.call.host);
            self.note(made).await?;
        }
        if self.calls.is_empty() {
            self.calling.clear();
        }
        Ok(())
    }

    /// Publishes what the source said, then tells who waits. Killed in between, the host is called for
    /// once more, and who looks meanwhile sees the sighting.
    async fn note(&mut self, made: Made) -> Result<(), HotError> {
        let Made { call, reply: Reply { said, pause }, at, is_related } = made;
        let (outcome, result) = match &said {
            Said::Pages(_) => (SourceOutcome::Answered { is_related }, "answered"),
            Said::Refused { is_for_key: true } => (SourceOutcome::Forbidden, "refused"),
            Said::Refused { is_for_key: false } => (SourceOutcome::Refused, "refused"),
            Said::Limited => (SourceOutcome::Failed, "limited"),
            Said::Nothing => (SourceOutcome::Failed, "failed"),
        };
        metrics::counter!(names::RISING_CALLS_TOTAL, "result" => result).increment(1);
        let Sampling { hot, lead, sightings, .. } = &mut *self.sampling;
        if let Said::Pages(found) = said {
            let (host, visitors, pages) = (call.host.clone(), found.visitors, found.pages);
            let sample = Sample { host, sampled_at: at, visitors, exact: true, pages };
            sightings.take_in(lead.lease(), sample).await?;
        }
        hot.note_source_call(lead.lease(), &call, at, outcome, pause).await?;
        Ok(())
    }
}
