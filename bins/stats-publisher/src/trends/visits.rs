//! Samples of Mayfly's own visits: every five seconds, for each host with visitors.

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

/// Samples every host once per interval.
pub struct VisitSampler {
    context: SamplingContext,
    schedule: Schedule,
    /// The start of the latest interval that is complete.
    completed: Option<Timestamp>,
    /// Whether all samples of the current interval are from this instance. Otherwise it checks
    /// which hosts the previous leader has sampled.
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

    /// Returns how long to wait if another instance is the leader.
    async fn check_standby(
        &mut self,
        leadership: &mut Leadership,
    ) -> Result<Option<Duration>, HotError> {
        let Role::Standby(expires_in) = leadership.role().await? else { return Ok(None) };
        (self.completed, self.is_sole_leader) = (None, false);
        Ok(Some(leadership.standby_pause(expires_in)))
    }

    /// Samples every host with visitors. Returns `false` if the leadership was lost or the process
    /// drains.
    ///
    /// A host that cannot be sampled is skipped until the next interval. An outage ends the round
    /// when it affects two hosts in succession: the visits of a single large host may take too long
    /// to count.
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

    /// Samples a host, unless a previous leader sampled it in the current interval.
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

    /// Returns whether a previous leader sampled a host in the current interval.
    async fn is_sampled(&self, host: &Host, now: Timestamp) -> Result<bool, HotError> {
        let last = self.context.hot.trends().find(host).await?;
        Ok(!self.schedule.is_due(last.map(|last| last.sampled_at), now))
    }

    /// Samples a host.
    ///
    /// A host without visitors is sampled a last time, so that subscribers see that its pages are
    /// empty, and then removed. If that is interrupted, it is repeated.
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
            // After a failure, the hosts that are sampled already are not sampled again.
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
