//! Samples of the visits that Mayfly accepts, taken every five seconds for each host with visitors.

use std::time::Duration;

use mayfly_core::{Clock, Host, StoreError, Timestamp};
use mayfly_hot::{HotError, Role};
use mayfly_runtime::ItemLog;

use super::context::SamplingContext;
use crate::{
    leadership::{LeaderJob, Leadership},
    schedule::Schedule,
};

/// The interval between two samples, aligned to the clock.
const INTERVAL: Duration = Duration::from_secs(5);

/// The sampler of visits. It samples every host once per interval.
pub struct VisitSampler {
    context: SamplingContext,
    schedule: Schedule,
    /// The start of the latest interval in which all hosts were sampled.
    completed: Option<Timestamp>,
    /// Whether this instance has remained the leader, and no round has failed, since this instance
    /// last sampled all hosts. If not, this instance checks which hosts have already been sampled
    /// in the current interval.
    is_sole_leader: bool,
    hosts: ItemLog,
}

impl VisitSampler {
    /// Creates a sampler.
    pub fn new(context: SamplingContext) -> Self {
        Self {
            context,
            schedule: Schedule::new(INTERVAL),
            completed: None,
            is_sole_leader: false,
            hosts: ItemLog::new(Self::DESCRIPTION),
        }
    }

    /// If another instance is the leader, resets the state of this instance and returns the pause
    /// before its next step. Otherwise, returns `None`.
    async fn check_standby(
        &mut self,
        leadership: &mut Leadership,
    ) -> Result<Option<Duration>, HotError> {
        let Role::Standby(expires_in) = leadership.role().await? else { return Ok(None) };
        (self.completed, self.is_sole_leader) = (None, false);
        Ok(Some(leadership.standby_pause(expires_in)))
    }

    /// Samples every visited host. Returns `false` if the leadership was lost or the process
    /// drains.
    ///
    /// A host that cannot be sampled is skipped until the next interval. The round ends with an
    /// error if an outage affects two hosts in succession. A single failure does not end the round,
    /// because counting the visitors to a large host may time out.
    async fn sample_all(
        &mut self,
        now: Timestamp,
        leadership: &mut Leadership,
    ) -> Result<bool, HotError> {
        let ttl = self.context.settings.visits.ttl;
        let mut is_outage = false;
        for host in self.context.hot.visits().list_hosts(ttl).await? {
            let is_draining = self.context.draining.is_cancelled();
            if is_draining || self.check_standby(leadership).await?.is_some() {
                return Ok(false);
            }
            let sampled = self.sample_if_due(&host, now, leadership).await;
            let was_outage = is_outage;
            is_outage = sampled.as_ref().is_err_and(|error| !error.is_rejection());
            let concerns_host = |error: &HotError| error.is_rejection() || !was_outage;
            self.hosts.isolate(&host, sampled, concerns_host)?;
        }
        Ok(true)
    }

    /// Samples a host unless it has already been sampled in the current interval.
    async fn sample_if_due(
        &mut self,
        host: &Host,
        now: Timestamp,
        leadership: &Leadership,
    ) -> Result<(), HotError> {
        if self.is_sole_leader || !self.is_sampled(host, now).await? {
            self.sample(host, leadership).await?;
        }
        Ok(())
    }

    /// Returns whether a host has already been sampled in the current interval.
    async fn is_sampled(&self, host: &Host, now: Timestamp) -> Result<bool, HotError> {
        let last = self.context.hot.trends().find(host).await?;
        Ok(!self.schedule.is_due(last.map(|last| last.sampled_at), now))
    }

    /// Samples a host.
    ///
    /// A host without visitors is sampled one last time, so that subscribers see that its pages
    /// have no visitors, and is then removed. If the process is killed in between, a later round
    /// repeats both steps.
    async fn sample(&mut self, host: &Host, leadership: &Leadership) -> Result<(), HotError> {
        let SamplingContext { settings, hot, publisher, .. } = &mut self.context;
        let sample = hot.visits().count_visitors(host, &settings.visits).await?;
        let is_empty = sample.visitors == 0;
        let published = publisher.publish(leadership.lease(), sample).await?;
        if is_empty && published.is_some() {
            hot.visits().remove_host(host, settings.visits.ttl).await?;
        }
        Ok(())
    }
}

impl LeaderJob for VisitSampler {
    const DESCRIPTION: &'static str = "sample visits";

    async fn step(&mut self, leadership: &mut Leadership) -> Result<Duration, HotError> {
        if let Some(pause) = self.check_standby(leadership).await? {
            return Ok(pause);
        }
        let now = self.context.hot.clock().now();
        let interval = self.schedule.interval_start(now);
        if self.completed != Some(interval) {
            let sampled = self.sample_all(now, leadership).await;
            // After a failure, the next step checks which hosts have already been sampled.
            self.is_sole_leader &= sampled.is_ok();
            if !sampled? {
                return Ok(Duration::ZERO);
            }
            (self.completed, self.is_sole_leader) = (Some(interval), true);
        }
        let next = self.schedule.until_next(self.context.hot.clock().now());
        Ok(next.min(leadership.renew_interval()))
    }
}
