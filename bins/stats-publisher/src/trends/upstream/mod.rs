//! Samples hosts by calling an upstream service. A host is sampled when a caller requests it,
//! repeatedly while a client watches it, and once per period if it has an accepted key.
//!
//! Redis stores each request until the outcome of its call is recorded. The start of a call is
//! recorded before the call is made, so that if the leader crashes, the next leader repeats the
//! call only after the minimum interval between two calls for a host.

mod chartbeat;
mod key_registration;
mod quota;
mod refresh;
mod response;

use std::{collections::HashMap, sync::Arc, time::Duration};

use mayfly_core::{Clock, Host, Sample, StoreError, Timestamp};
use mayfly_hot::{CallDenied, CallReason, HotError, Role, SourceCall, SourceOutcome};
use mayfly_runtime::ItemLog;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tracing::warn;

use self::{
    chartbeat::{Answer, CallResult, Chartbeat},
    key_registration::{KeyRegistration, register_key},
    refresh::Refresh,
};
use super::context::SamplingContext;
use crate::{
    leadership::{LeaderJob, Leadership},
    metrics as names,
};

/// The interval between two checks for requested hosts.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// The interval between two checks for watched hosts.
const WATCHED_POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How long a host is skipped if a call for it was started, is in progress, or is not possible.
const SKIP_DURATION: Duration = Duration::from_secs(1);
/// The maximum number of concurrent calls, at most one per host.
const CALLS_MAX: usize = 32;
/// The maximum number of concurrent calls that are refreshes.
const REFRESHES_MAX: usize = 10;
/// The maximum number of hosts from each list that one step considers, so that the lease is renewed
/// in time.
const DECISIONS_MAX: usize = 100;
/// The pause after a loss of leadership or a failure.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// A completed call.
struct CompletedCall {
    call: SourceCall,
    result: CallResult,
    /// The time when the answer arrived, according to the Redis clock.
    at: Timestamp,
    is_registered: bool,
}

/// The sampler that calls the service and publishes its answers.
pub struct UpstreamSampler {
    context: SamplingContext,
    chartbeat: Arc<Chartbeat>,
    calls: JoinSet<CompletedCall>,
    /// The hosts with a call in progress. The value is `true` if the call is a refresh.
    in_progress: HashMap<Host, bool>,
    /// Completed calls with outcomes that have not been recorded yet.
    completed: Vec<CompletedCall>,
    /// The earliest times of the next calls for requested hosts.
    blocked_until: HashMap<Host, Instant>,
    /// The watched hosts and the times of their next calls.
    watched: HashMap<Host, Instant>,
    watched_read_at: Option<Instant>,
    refresh: Refresh,
    key_registration: KeyRegistration,
    hosts: ItemLog,
    steps: ItemLog,
}

impl UpstreamSampler {
    /// Creates a sampler.
    pub fn new(context: SamplingContext) -> Self {
        let SamplingContext { settings, hot, cold, .. } = &context;
        let clock = hot.clock().clone();
        let chartbeat = Arc::new(Chartbeat::new(&settings.rising.chartbeat_url, clock));
        let refresh = Refresh::new(cold.clone(), settings.rising.refresh);
        let key_registration = KeyRegistration::new(hot.clone(), cold.clone());
        Self {
            context,
            chartbeat,
            calls: JoinSet::new(),
            in_progress: HashMap::new(),
            completed: Vec::new(),
            blocked_until: HashMap::new(),
            watched: HashMap::new(),
            watched_read_at: None,
            refresh,
            key_registration,
            hosts: ItemLog::new(Self::DESCRIPTION),
            steps: ItemLog::new("list the hosts to be sampled"),
        }
    }

    /// Discards the state after another instance has become the leader. The new leader repeats the
    /// calls that are still requested.
    fn reset(&mut self) {
        self.calls.abort_all();
        self.calls.detach_all();
        self.in_progress.clear();
        self.completed.clear();
        self.blocked_until.clear();
        self.watched.clear();
        self.watched_read_at = None;
        self.refresh.reset();
    }

    /// Starts calls for requested hosts. Returns `false` if the leadership is lost.
    async fn call_requested(&mut self, leadership: &Leadership) -> Result<bool, HotError> {
        let mut decisions = 0;
        for host in self.context.hot.source().list_requested_hosts().await? {
            if decisions == DECISIONS_MAX || self.calls.len() >= CALLS_MAX {
                break;
            }
            if self.in_progress.contains_key(&host) || self.blocked_until.contains_key(&host) {
                continue;
            }
            decisions += 1;
            let decision = self.call(&host, CallReason::Requested, leadership).await;
            match self.hosts.isolate(&host, decision, HotError::is_rejection)? {
                Some(Err(CallDenied::NotLeader)) => return Ok(false),
                Some(Err(CallDenied::TooSoon(left))) => {
                    self.blocked_until.insert(host, Instant::now() + left);
                }
                Some(Ok(()) | Err(CallDenied::NothingToDo | CallDenied::Paused(_))) => {}
                None => {
                    self.blocked_until.insert(host, Instant::now() + SKIP_DURATION);
                }
            }
        }
        Ok(true)
    }

    /// Starts calls for watched hosts. Returns `false` if the leadership is lost.
    async fn call_watched(&mut self, leadership: &Leadership) -> Result<bool, HotError> {
        let now = Instant::now();
        if self.watched_read_at.is_none_or(|at| at + WATCHED_POLL_INTERVAL <= now) {
            let hosts = self.context.hot.trends().list_watched_hosts().await?;
            let mut previous = std::mem::take(&mut self.watched);
            let next_call = |host: Host| {
                let next_at = previous.remove(&host).unwrap_or(now);
                (host, next_at)
            };
            self.watched = hosts.into_iter().map(next_call).collect();
            self.watched_read_at = Some(now);
        }
        let due = self.watched.iter().filter(|(_, next_at)| **next_at <= now);
        let due: Vec<_> = due.map(|(host, _)| host.clone()).take(DECISIONS_MAX).collect();
        for host in due {
            if self.calls.len() >= CALLS_MAX {
                break;
            }
            if self.in_progress.contains_key(&host) {
                continue;
            }
            let decision = self.call(&host, CallReason::Watched, leadership).await;
            let pause = match self.hosts.isolate(&host, decision, HotError::is_rejection)? {
                Some(Err(CallDenied::NotLeader)) => return Ok(false),
                Some(Err(CallDenied::TooSoon(left))) => left,
                Some(Ok(()) | Err(CallDenied::NothingToDo | CallDenied::Paused(_))) | None => {
                    SKIP_DURATION
                }
            };
            self.watched.insert(host, Instant::now() + pause);
        }
        Ok(true)
    }

    /// Starts calls for hosts that are due for a refresh. Returns `false` if the leadership is
    /// lost.
    async fn call_to_refresh(&mut self, leadership: &Leadership) -> Result<bool, HotError> {
        for _ in 0..DECISIONS_MAX {
            let refreshes = self.in_progress.values().filter(|is_refresh| **is_refresh).count();
            if refreshes >= REFRESHES_MAX || self.calls.len() >= CALLS_MAX {
                break;
            }
            let now = self.context.hot.clock().now();
            let Some((host, since)) = self.refresh.next(now).await else { break };
            if self.in_progress.contains_key(&host) {
                self.refresh.put_back(host, SKIP_DURATION);
                continue;
            }
            let decision = self.call(&host, CallReason::Refresh(since), leadership).await;
            match self.hosts.isolate(&host, decision, HotError::is_rejection) {
                Err(error) => {
                    self.refresh.put_back(host, RETRY_INTERVAL);
                    return Err(error);
                }
                Ok(None) => self.refresh.put_back(host, SKIP_DURATION),
                Ok(Some(Err(CallDenied::NotLeader))) => return Ok(false),
                Ok(Some(Err(CallDenied::TooSoon(left)))) => self.refresh.put_back(host, left),
                Ok(Some(Err(CallDenied::Paused(left)))) => {
                    self.refresh.put_back(host, left.max(SKIP_DURATION));
                }
                // If no call was started, the host has no accepted key or was already sampled or
                // refreshed in this period.
                Ok(Some(Ok(()) | Err(CallDenied::NothingToDo))) => {}
            }
        }
        Ok(true)
    }

    /// Starts a call for a host if Redis currently allows the call. Otherwise, returns why the call
    /// was denied.
    async fn call(
        &mut self,
        host: &Host,
        reason: CallReason,
        leadership: &Leadership,
    ) -> Result<Result<(), CallDenied>, HotError> {
        let SamplingContext { hot, cold, .. } = &self.context;
        let call = match hot.source().take_call(leadership.lease(), host, reason).await? {
            Ok(call) => call,
            Err(denied) => return Ok(Err(denied)),
        };
        // If the process is killed here, the next leader makes the call after the minimum interval.
        let (chartbeat, cold, started) =
            (Arc::clone(&self.chartbeat), cold.clone(), Instant::now());
        let outages = self.key_registration.outages().clone();
        self.in_progress.insert(host.clone(), call.is_refresh);
        self.calls.spawn(async move {
            let result = chartbeat.call(&call.host, &call.key).await;
            let at = call.called_at.plus(started.elapsed());
            let is_new_key = call.is_trial && matches!(result.answer, Answer::Pages(_));
            let is_registered = !is_new_key || register_key(&cold, &call, &outages).await;
            CompletedCall { call, result, at, is_registered }
        });
        Ok(Ok(()))
    }

    /// Records the outcomes of completed calls. If an outcome cannot be recorded, the call is
    /// repeated.
    async fn record_completed(&mut self, leadership: &Leadership) -> Result<(), HotError> {
        while let Some(completed) = self.calls.try_join_next() {
            self.completed.extend(completed);
        }
        while let Some(completed) = self.completed.pop() {
            let host = completed.call.host.clone();
            self.in_progress.remove(&host);
            let recorded = self.record(completed, leadership).await;
            self.hosts.isolate(&host, recorded, HotError::is_rejection)?;
        }
        if self.calls.is_empty() {
            self.in_progress.clear();
        }
        Ok(())
    }

    /// Publishes the sample of a call, then records its outcome. If the process is killed in
    /// between, the call is repeated, and a caller that polls in the meantime sees the sample.
    async fn record(
        &mut self,
        completed: CompletedCall,
        leadership: &Leadership,
    ) -> Result<(), HotError> {
        let CompletedCall { call, result, at, is_registered } = completed;
        let CallResult { answer, pause } = result;
        let (outcome, label) = match &answer {
            Answer::Pages(_) => (SourceOutcome::Answered { is_registered }, "answered"),
            Answer::Rejected { is_for_key: true } => (SourceOutcome::Forbidden, "refused"),
            Answer::Rejected { is_for_key: false } => (SourceOutcome::Refused, "refused"),
            Answer::RateLimited => (SourceOutcome::Failed, "limited"),
            Answer::Unusable => (SourceOutcome::Failed, "failed"),
        };
        metrics::counter!(names::RISING_CALLS_TOTAL, "result" => label).increment(1);
        let SamplingContext { hot, publisher, .. } = &mut self.context;
        if let Answer::Pages(found) = answer {
            let (host, visitors, pages) = (call.host.clone(), found.visitors, found.pages);
            let sample = Sample { host, sampled_at: at, visitors, exact: true, pages };
            publisher.publish(leadership.lease(), sample).await?;
        }
        hot.source().record_call(leadership.lease(), &call, at, outcome, pause).await?;
        Ok(())
    }
}

impl LeaderJob for UpstreamSampler {
    const DESCRIPTION: &'static str = "sample visitors with Chartbeat";

    /// Records the outcomes of completed calls, and starts the calls that are due.
    async fn step(&mut self, leadership: &mut Leadership) -> Result<Duration, HotError> {
        if let Role::Standby(expires_in) = leadership.role().await? {
            self.reset();
            return Ok(leadership.standby_pause(expires_in));
        }
        self.record_completed(leadership).await?;
        if self.context.draining.is_cancelled() {
            return Ok(POLL_INTERVAL);
        }
        self.key_registration.spawn_if_due();
        let now = Instant::now();
        self.blocked_until.retain(|_, until| *until > now);
        // If Redis rejects a command for one list, continue with the other lists.
        let requested = self.call_requested(leadership).await;
        let requested = self.steps.isolate("requested hosts", requested, HotError::is_rejection)?;
        let watched = self.call_watched(leadership).await;
        let watched = self.steps.isolate("watched hosts", watched, HotError::is_rejection)?;
        let is_leader = requested != Some(false)
            && watched != Some(false)
            && self.call_to_refresh(leadership).await?;
        Ok(if is_leader { POLL_INTERVAL } else { RETRY_INTERVAL })
    }

    /// Waits for `pause`. Returns early if a call completes, because a client may be waiting for
    /// the outcome.
    async fn wait(&mut self, pause: Duration) {
        tokio::select! {
            completed = self.calls.join_next(), if !self.calls.is_empty() => {
                if let Some(Ok(completed)) = completed {
                    self.completed.push(completed);
                }
            }
            () = sleep(pause) => {}
        }
    }

    fn is_busy(&self) -> bool {
        !self.calls.is_empty()
    }

    async fn finish(&mut self, leadership: &mut Leadership) {
        if let Err(error) = self.record_completed(leadership).await {
            warn!(%error, "cannot record the outcomes of the last calls; the calls will be repeated");
        }
        leadership.release().await;
    }
}
