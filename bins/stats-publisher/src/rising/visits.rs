//! Visitors as our own heartbeats show them: counted every five seconds, each host that has any.

use std::time::Duration;

use mayfly_core::{Clock, Host, SystemClock, Timestamp};
use mayfly_hot::{HotError, Turn};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Sampling;
use crate::schedule::Schedule;

/// How far samples are apart: at every fifth second of the clock.
const INTERVAL: Duration = Duration::from_secs(5);
/// The pause after a failure.
const RETRY: Duration = Duration::from_millis(250);

/// Samples until the drain.
pub async fn run(sampling: &mut Sampling, draining: &CancellationToken) {
    let mut rounds =
        Rounds { sampling, schedule: Schedule::new(INTERVAL), done: None, knows_all: false };
    while !draining.is_cancelled() {
        let pause = match rounds.step(draining).await {
            Ok(pause) => pause,
            Err(error) => {
                debug!(%error, "cannot sample now");
                RETRY
            }
        };
        draining.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}

struct Rounds<'a> {
    sampling: &'a mut Sampling,
    schedule: Schedule,
    /// When the interval began that is done.
    done: Option<Timestamp>,
    /// Whether all samples of the present interval would be of this process: whoever begins to lead
    /// within an interval looks at what the leader before did of it.
    knows_all: bool,
}

impl Rounds<'_> {
    /// Samples all hosts if that is due; gives how long to wait then.
    async fn step(&mut self, draining: &CancellationToken) -> Result<Duration, HotError> {
        if let Some(pause) = self.wait_for_turn().await? {
            return Ok(pause);
        }
        let now = SystemClock.now();
        let interval = self.schedule.last(now);
        if self.done.is_none_or(|done| done != interval) {
            let sampled = self.sample_all(now, draining).await;
            // Where it failed in the middle, those that are done are not done once more.
            self.knows_all &= sampled.is_ok();
            if !sampled? {
                return Ok(Duration::ZERO);
            }
            (self.done, self.knows_all) = (Some(interval), true);
        }
        let next = self.schedule.until_next(SystemClock.now());
        Ok(next.min(self.sampling.lead.renew_every()))
    }

    /// How long another process leads; nothing if this one does.
    async fn wait_for_turn(&mut self) -> Result<Option<Duration>, HotError> {
        let Turn::Others(left) = self.sampling.lead.hold().await? else { return Ok(None) };
        (self.done, self.knows_all) = (None, false);
        Ok(Some(self.sampling.lead.renew_every().min(left)))
    }

    /// Samples every host with visitors; gives false where it lost the lead meanwhile, or is to leave.
    async fn sample_all(
        &mut self,
        now: Timestamp,
        draining: &CancellationToken,
    ) -> Result<bool, HotError> {
        let ttl = self.sampling.settings.visits.ttl;
        for host in self.sampling.hot.list_visited_hosts(ttl).await? {
            if draining.is_cancelled() || self.wait_for_turn().await?.is_some() {
                return Ok(false);
            }
            if self.knows_all || !self.is_done(&host, now).await? {
                self.sample(&host).await?;
            }
        }
        Ok(true)
    }

    /// Whether another leader sampled a host in this interval already.
    async fn is_done(&self, host: &Host, now: Timestamp) -> Result<bool, HotError> {
        let last = self.sampling.hot.find_sighting(host).await?;
        Ok(!self.schedule.is_due(last.map(|last| last.sampled_at), now))
    }

    /// Samples a host. Of one that all have left it is the last time: whoever watches it sees nobody
    /// there, and then it is no longer a host with visitors. Killed in between, the same is done again.
    async fn sample(&mut self, host: &Host) -> Result<(), HotError> {
        let Sampling { settings, hot, lead, sightings, .. } = &mut *self.sampling;
        let sample = hot.count_visitors(host, &settings.visits).await?;
        let is_empty = sample.visitors == 0;
        let sighting = sightings.take_in(lead.lease(), sample).await?;
        if is_empty && sighting.is_some() {
            hot.forget_visited_host(host, settings.visits.ttl).await?;
        }
        Ok(())
    }
}
