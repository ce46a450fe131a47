//! Leadership: each job runs on at most one instance of stats-publisher at a time, the holder of
//! the job's lease.

use std::time::Duration;

use mayfly_hot::{HotError, HotStore, Lease, Role};
use mayfly_runtime::OutageLog;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// The pause after a failed step.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);
/// The minimum pause of a standby.
const STANDBY_PAUSE_MIN: Duration = Duration::from_millis(50);

/// A job that one instance runs as the leader while the other instances are on standby.
pub trait LeaderJob {
    /// The description of the job in the log, such as "publish play counts".
    const DESCRIPTION: &'static str;

    /// Runs one step and returns the pause before the next one.
    ///
    /// Implementations must check the role of this instance with `leadership` before they act as
    /// the leader.
    async fn step(&mut self, leadership: &mut Leadership) -> Result<Duration, HotError>;

    /// Waits until the next step is due: by default, for `pause`. Implementations must be
    /// cancel-safe.
    async fn wait(&mut self, pause: Duration) {
        sleep(pause).await;
    }

    /// Returns whether the job has work to complete before the process exits.
    fn is_busy(&self) -> bool {
        false
    }

    /// Completes the job. By default, only releases the lease, so that a standby can take over
    /// without waiting for the lease to expire.
    async fn finish(&mut self, leadership: &mut Leadership) {
        leadership.release().await;
    }
}

/// The leadership of one job, which is based on a lease in Redis.
pub struct Leadership {
    job: &'static str,
    lease: Lease,
    /// The time when the lease was last acquired or renewed, or `None` if the role of this instance
    /// must be read from Redis.
    renewed_at: Option<Instant>,
}

impl Leadership {
    /// Creates the leadership of `job`. The lease expires `ttl` after its last renewal.
    pub fn new(hot: &HotStore, job: &'static str, ttl: Duration) -> Self {
        Self { job, lease: Lease::new(hot, job, ttl), renewed_at: None }
    }

    /// Runs `job` until the process drains and the job has completed its work.
    pub async fn run<J: LeaderJob>(mut self, mut job: J, draining: CancellationToken) {
        let outages = OutageLog::new(J::DESCRIPTION);
        while !draining.is_cancelled() || job.is_busy() {
            let result = job.step(&mut self).await;
            outages.record(&result);
            let pause = result.unwrap_or_else(|_| {
                self.renewed_at = None;
                RETRY_INTERVAL
            });
            let is_busy = job.is_busy();
            tokio::select! {
                () = job.wait(pause) => {}
                () = draining.cancelled(), if !is_busy => {}
            }
        }
        job.finish(&mut self).await;
    }

    /// Acquires the lease, or renews it if a renewal is due. Returns the role of this instance.
    ///
    /// A leader must call this at least once per [`renew_interval`](Self::renew_interval).
    pub async fn role(&mut self) -> Result<Role, HotError> {
        if self.renewed_at.is_some_and(|at| at.elapsed() < self.lease.renew_interval()) {
            return Ok(Role::Leader);
        }
        self.renew().await
    }

    /// Acquires or renews the lease immediately and returns the role of this instance.
    pub async fn renew(&mut self) -> Result<Role, HotError> {
        self.renewed_at = None;
        let started = Instant::now();
        let role = self.lease.acquire_or_renew().await?;
        self.renewed_at = (role == Role::Leader).then_some(started);
        Ok(role)
    }

    /// Makes the next call to [`role`](Self::role) query Redis.
    pub fn invalidate(&mut self) {
        self.renewed_at = None;
    }

    /// Returns the interval between two renewals of the lease.
    pub fn renew_interval(&self) -> Duration {
        self.lease.renew_interval()
    }

    /// Returns the pause before the next step of a standby. The leader's lease expires in
    /// `expires_in`.
    pub fn standby_pause(&self, expires_in: Duration) -> Duration {
        self.renew_interval().min(expires_in.max(STANDBY_PAUSE_MIN))
    }

    /// Returns the minimum time for which this instance still holds the lease, provided that Redis
    /// does not lose its data. Returns zero if this instance does not hold the lease.
    pub fn remaining(&self) -> Duration {
        self.lease.remaining()
    }

    /// Returns the lease, which fences off writes to Redis by former leaders.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Releases the lease, so that a standby can take over without waiting for the lease to expire.
    pub async fn release(&mut self) {
        self.renewed_at = None;
        if let Err(error) = self.lease.release().await {
            debug!(job = self.job, %error, "cannot release the lease; it will expire on its own");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use mayfly_runtime::Settings;

    use super::*;

    #[tokio::test]
    async fn standby_pauses_until_the_lease_expires_but_never_spins() {
        let settings = Settings::from_layers(None, iter::empty()).expect("valid settings");
        let hot = HotStore::new(&settings.redis).expect("a valid URL");
        let leadership = Leadership::new(&hot, "test", Duration::from_secs(3));
        let pause = |millis| leadership.standby_pause(Duration::from_millis(millis)).as_millis();
        assert_eq!([0, 1, 49].map(pause), [50; 3]);
        assert_eq!([50, 700, 3_000].map(pause), [50, 700, 1_000]);
    }
}
