//! Publishes the statistics snapshot: reads the statistics from Postgres, uploads the snapshot to
//! S3 and announces it in Redis.
//!
//! Any step can be interrupted, or suspended and resumed while another instance is the leader.
//! Every announced snapshot has been uploaded to S3. If a snapshot in S3 has not been announced, a
//! newer one follows soon, because a snapshot stays due until one has been announced for the
//! current interval. If a late upload has overwritten a newer snapshot, or if the object is
//! missing, the [`reconcile`] module uploads the announced snapshot again.

mod reconcile;
mod s3_health;

use std::time::Duration;

use bytes::Bytes;
use mayfly_cold::{ColdError, ColdStore};
use mayfly_core::{Clock, StateFeed, Timestamp};
use mayfly_hot::{HotError, HotStore, PublishOutcome, Role, is_plausible_time};
use mayfly_runtime::{Component, OutageLog};
use mayfly_s3::{S3Error, SnapshotStore};
use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use self::s3_health::S3Health;
use crate::{
    leadership::{LeaderJob, Leadership},
    metrics as names,
    schedule::Schedule,
};

/// The name of the lease.
const JOB: &str = "stats";
/// The lifetime of the lease is half the interval, within these limits.
const LEASE_TTL_MIN: Duration = Duration::from_secs(2);
const LEASE_TTL_MAX: Duration = Duration::from_secs(10);
/// The initial backoff after a failed step. The backoff doubles after each failure, up to the
/// maximum or a fraction of the interval, whichever is lower.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
const BACKOFF_INTERVAL_DIVISOR: u32 = 4;
/// How long a step in progress may continue while the process drains.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
/// How long S3 is assumed to be able to apply an upload after the upload has timed out.
const LATE_UPLOAD_MAX: Duration = Duration::from_secs(10);
/// The minimum pause between two steps.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// The error of a step. A failed step is retried.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// An error from Redis.
    #[error(transparent)]
    Hot(#[from] HotError),
    /// An error from Postgres.
    #[error(transparent)]
    Cold(#[from] ColdError),
    /// An error from S3.
    #[error(transparent)]
    S3(#[from] S3Error),
}

/// The outcome of a step that did not fail.
enum Outcome {
    Published,
    /// This instance may no longer be the leader, or a newer snapshot exists.
    Superseded,
    /// The rollups are not complete yet.
    Filling,
}

/// A snapshot that was announced.
pub struct AnnouncedSnapshot {
    /// The time when the statistics were read.
    pub generated_at: Timestamp,
    /// The snapshot.
    pub json: Bytes,
}

/// A publisher that publishes the snapshot once per interval.
pub struct SnapshotPublisher {
    hot: HotStore,
    cold: ColdStore,
    s3: SnapshotStore,
    s3_health: S3Health,
    /// The health component of the snapshot.
    component: Component,
    /// The Redis clock, which all publishers use to divide time into intervals.
    clock: Box<dyn Clock>,
    schedule: Schedule,
    interval: Duration,
    lease_ttl: Duration,
    /// The timeout of an upload, shorter than the lifetime of a renewed lease.
    upload_timeout: Duration,
    /// The time of the snapshot that this instance last began to upload, or of an older snapshot
    /// if S3 may have applied its upload late. `None` once the snapshot has been announced or
    /// reconciled.
    unannounced: Option<Timestamp>,
    /// An upload that timed out.
    pending_upload: Option<PendingUpload>,
    /// The backoff after a failed step.
    backoff: Option<Backoff>,
    redis_outages: OutageLog,
    draining: CancellationToken,
}

/// An upload that S3 may still apply.
struct PendingUpload {
    generated_at: Timestamp,
    /// The time from which S3 is assumed to be unable to apply the upload.
    settled_at: Instant,
}

struct Backoff {
    until: Instant,
    duration: Duration,
    /// The error of the failed step.
    reason: String,
}

impl SnapshotPublisher {
    /// Creates a publisher that publishes once per `interval`.
    pub fn new(
        hot: HotStore,
        cold: ColdStore,
        s3: SnapshotStore,
        s3_health: S3Health,
        component: Component,
        interval: Duration,
        draining: CancellationToken,
    ) -> Self {
        let lease_ttl = (interval / 2).clamp(LEASE_TTL_MIN, LEASE_TTL_MAX);
        Self {
            clock: Box::new(hot.clock().clone()),
            hot,
            cold,
            s3,
            s3_health,
            component,
            schedule: Schedule::new(interval),
            interval,
            lease_ttl,
            upload_timeout: lease_ttl / 2,
            unannounced: None,
            pending_upload: None,
            backoff: None,
            redis_outages: OutageLog::new(Self::DESCRIPTION),
            draining,
        }
    }

    /// Runs until the process drains.
    pub async fn run(self) {
        let draining = self.draining.clone();
        Leadership::new(&self.hot, JOB, self.lease_ttl).run(self, draining).await;
    }

    async fn run_step(&mut self, leadership: &mut Leadership) -> Duration {
        match self.try_step(leadership).await {
            Ok(pause) => {
                self.redis_outages.record(&Ok::<_, HotError>(()));
                pause
            }
            Err(error) => self.back_off(error, leadership).await,
        }
    }

    async fn try_step(&mut self, leadership: &mut Leadership) -> Result<Duration, PublishError> {
        let backoff = self.backoff.as_ref().map(|rest| rest.until.duration_since(Instant::now()));
        let role = match backoff {
            Some(left) if !left.is_zero() => Role::Standby(left),
            _ => leadership.renew().await?,
        };
        // The announced snapshot is read after the lease has been acquired, because a previous
        // leader can then no longer announce another one.
        let last = self.find_announced().await?;
        self.reconcile().await?;
        let is_due = self.schedule.is_due(last.as_ref().map(|last| last.generated_at), self.now());
        if let Some(last) = last.as_ref().filter(|_| !is_due) {
            self.restore_object(last).await?;
        }
        if role != Role::Leader || !is_due {
            self.report(last.as_ref(), is_due);
        }
        match role {
            Role::Standby(expires_in) => Ok(leadership.standby_pause(expires_in)),
            Role::Leader if is_due => {
                let started = Instant::now();
                let outcome = self.publish(leadership).await?;
                Ok(self.record_outcome(&outcome, started.elapsed(), leadership))
            }
            Role::Leader => Ok(self.pause_until_next(leadership)),
        }
    }

    fn pause_until_next(&self, leadership: &Leadership) -> Duration {
        leadership.renew_interval().min(self.schedule.until_next(self.now()))
    }

    /// Reads, uploads and announces the snapshot for the current interval.
    async fn publish(&mut self, leadership: &mut Leadership) -> Result<Outcome, PublishError> {
        let generated_at = self.now();
        let Some(snapshot) = self.cold.statistics().read(generated_at).await? else {
            return Ok(Outcome::Filling);
        };
        let json = serde_json::to_vec(&snapshot).expect("invariant: strings and numbers are JSON");
        let json = Bytes::from(json);
        leadership.renew().await?;
        // If the process is killed here, the next leader publishes the snapshot for this interval.
        // If the process is suspended here until the lease has almost expired, the snapshot is not
        // uploaded.
        if leadership.remaining() < self.upload_timeout {
            return Ok(Outcome::Superseded);
        }
        self.unannounced = Some(generated_at);
        self.upload(json.clone(), generated_at).await?;
        // If the process is killed here, S3 contains a newer snapshot than the announced one until
        // the next leader publishes another snapshot.
        match self.hot.snapshots().publish_stats(leadership.lease(), &json, generated_at).await? {
            PublishOutcome::Published => {
                self.unannounced = None;
                Ok(Outcome::Published)
            }
            PublishOutcome::Stale | PublishOutcome::NotLeader => {
                self.reconcile().await?;
                Ok(Outcome::Superseded)
            }
        }
    }

    async fn upload(&mut self, json: Bytes, generated_at: Timestamp) -> Result<(), S3Error> {
        let result = self.s3.put(json, self.upload_timeout).await;
        self.s3_health.record_upload(&result, self.now());
        if matches!(result, Err(S3Error::Timeout(_))) {
            // If another upload is already pending, store the time of the older snapshot, and the
            // time from which S3 can apply neither upload.
            let oldest = self.pending_upload.as_ref().map_or(generated_at, |put| put.generated_at);
            self.pending_upload = Some(PendingUpload {
                generated_at: oldest.min(generated_at),
                settled_at: Instant::now() + LATE_UPLOAD_MAX,
            });
        }
        result
    }

    /// Records the outcome of a step and returns the pause before the next one.
    fn record_outcome(
        &mut self,
        outcome: &Outcome,
        duration: Duration,
        leadership: &Leadership,
    ) -> Duration {
        let (result, pause) = match outcome {
            Outcome::Published => {
                if self.backoff.take().is_some() {
                    info!(
                        object = self.s3.location(),
                        "stats-publisher can publish the snapshot again"
                    );
                }
                self.component.mark_up();
                metrics::histogram!(names::SNAPSHOT_DURATION_SECONDS).record(duration);
                metrics::gauge!(names::SNAPSHOT_AGE_SECONDS).set(0.0);
                ("published", self.pause_until_next(leadership))
            }
            Outcome::Superseded => ("late", PAUSE_MIN),
            Outcome::Filling => {
                self.component.mark_down("the rollups of earlier messages are being computed");
                ("filling", self.backoff_max().min(leadership.renew_interval()))
            }
        };
        metrics::counter!(names::SNAPSHOTS_TOTAL, "result" => result).increment(1);
        pause
    }

    /// Records a failed step and returns the pause before the next one. Unless Redis failed or an
    /// upload timed out, releases the lease, so that another instance can publish during the
    /// backoff.
    async fn back_off(&mut self, error: PublishError, leadership: &mut Leadership) -> Duration {
        let reason = error.to_string();
        self.component.mark_down(reason.as_str());
        if let PublishError::Hot(error) = error {
            // Without Redis, there is no leader. The pause is short, so that this instance soon
            // detects that Redis has recovered.
            self.redis_outages.record(&Err::<(), _>(error));
            return BACKOFF_MIN.min(self.backoff_max());
        }
        if self.backoff.is_none() {
            warn!(error = reason, "stats-publisher cannot publish the snapshot; retrying");
        }
        metrics::counter!(names::SNAPSHOTS_TOTAL, "result" => "failed").increment(1);
        let is_pending = matches!(error, PublishError::S3(S3Error::Timeout(_)));
        // After a timeout, S3 may still apply the upload. The lease is then not released but
        // expires on its own, which delays the upload of another instance. This instance waits
        // until after the lease has expired, so that a standby acquires the lease first.
        // `reconcile` corrects an upload that S3 applies even later.
        let handover = if is_pending {
            leadership.remaining() + leadership.renew_interval()
        } else {
            leadership.release().await;
            Duration::ZERO
        };
        let previous = self.backoff.as_ref().map_or(Duration::ZERO, |backoff| backoff.duration);
        let duration = (previous * 2).max(BACKOFF_MIN).min(self.backoff_max());
        let until = Instant::now() + duration.max(handover);
        self.backoff = Some(Backoff { until, duration, reason });
        duration
    }

    fn backoff_max(&self) -> Duration {
        (self.interval / BACKOFF_INTERVAL_DIVISOR).min(BACKOFF_MAX)
    }

    /// Reports the age and the health of the last snapshot. Clears the backoff if the current
    /// interval already has a snapshot.
    fn report(&mut self, last: Option<&AnnouncedSnapshot>, is_due: bool) {
        if let Some(last) = last {
            let age = self.now().since(last.generated_at);
            metrics::gauge!(names::SNAPSHOT_AGE_SECONDS).set(age.as_secs_f64());
            if !is_due {
                self.backoff = None;
            }
            if self.backoff.is_none() && age < self.interval * 2 {
                if self.s3_health.is_object_missing() {
                    let reason = format!("{} is missing", self.s3.location());
                    return self.component.mark_down(reason);
                }
                return self.component.mark_up();
            }
        }
        match (&self.backoff, last) {
            (Some(backoff), _) => self.component.mark_down(backoff.reason.as_str()),
            (None, Some(last)) => {
                self.component.mark_down(format!(
                    "the snapshot is out of date: it was generated at {}",
                    last.generated_at
                ));
            }
            (None, None) => self.component.mark_down("no snapshot has been published yet"),
        }
    }

    /// Finds the last announced snapshot. Ignores a snapshot with a missing or implausible time.
    async fn find_announced(&self) -> Result<Option<AnnouncedSnapshot>, HotError> {
        #[derive(Deserialize)]
        struct Stamp {
            generated_at: Timestamp,
        }
        let Some(json) = self.hot.snapshots().find_state(StateFeed::Stats).await? else {
            return Ok(None);
        };
        let stamp = serde_json::from_slice::<Stamp>(&json).ok();
        let plausible = stamp.filter(|stamp| is_plausible_time(stamp.generated_at, self.now()));
        Ok(plausible.map(|stamp| AnnouncedSnapshot { generated_at: stamp.generated_at, json }))
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl LeaderJob for SnapshotPublisher {
    const DESCRIPTION: &'static str = "publish statistics";

    async fn step(&mut self, leadership: &mut Leadership) -> Result<Duration, HotError> {
        let draining = self.draining.clone();
        let out_of_time = async {
            draining.cancelled().await;
            tokio::time::sleep(DRAIN_TIMEOUT).await;
        };
        let pause = tokio::select! {
            pause = self.run_step(leadership) => pause,
            () = out_of_time => Duration::ZERO,
        };
        Ok(pause.max(PAUSE_MIN))
    }

    /// Releases the lease unless S3 may still apply an upload. In that case, the lease expires on
    /// its own, which delays the next leader's upload.
    async fn finish(&mut self, leadership: &mut Leadership) {
        if self.unannounced.is_none() && self.pending_upload.is_none() {
            leadership.release().await;
        }
    }
}
