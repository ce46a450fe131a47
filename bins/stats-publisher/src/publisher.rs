//! The loop: lead, see whether a snapshot is due, make it, put it into S3, announce it.
//!
//! Any step may be cut off, or be frozen and go on when another publisher leads. What is announced
//! is in S3 already; what is in S3 and not announced is followed by a newer one as soon as somebody
//! leads, since the interval still has none; what was put too late is put right by [`crate::repair`].

use std::time::Duration;

use bytes::Bytes;
use mayfly_cold::{Cold, ColdError};
use mayfly_core::{Clock, SystemClock, Timestamp};
use mayfly_hot::{Hot, HotError, Lease, StateFeed, StatsPublished, Turn};
use mayfly_runtime::{Part, metrics as names};
use mayfly_s3::{S3, S3Error};
use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::{access::Access, schedule::Schedule};

/// The job that is led.
const JOB: &str = "stats";
/// A leader that is silent for so long is followed by another: half an interval, within these.
const LEASE_MIN: Duration = Duration::from_secs(2);
const LEASE_MAX: Duration = Duration::from_secs(10);
/// A run that failed is tried again after so long, then twice as long, up to this, or to a part of
/// the interval.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);
const RETRY_PART: u32 = 4;
/// How long a step that runs may take when the process is to leave.
const FINISH_WITHIN: Duration = Duration::from_secs(3);
/// How much later S3 may still do a put that it has not answered.
const LANDS_WITHIN: Duration = Duration::from_secs(10);
/// No pause is shorter.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// What stopped a run. It is tried again in any case.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Redis.
    #[error(transparent)]
    Hot(#[from] HotError),
    /// Postgres.
    #[error(transparent)]
    Cold(#[from] ColdError),
    /// S3.
    #[error(transparent)]
    S3(#[from] S3Error),
}

/// What came of a run that did not fail.
enum Outcome {
    Published,
    /// Another publisher leads by now.
    Late,
    /// There are no numbers yet.
    Filling,
}

/// A snapshot that was announced.
pub struct Announced {
    /// When its numbers were read.
    pub generated_at: Timestamp,
    /// The whole.
    pub json: Bytes,
}

/// Publishes the snapshots, or is the spare.
pub struct Publisher {
    pub(crate) hot: Hot,
    cold: Cold,
    pub(crate) s3: S3,
    pub(crate) access: Access,
    /// Whether the present interval has its snapshot, and why not.
    snapshot: Part,
    clock: Box<dyn Clock>,
    pub(crate) schedule: Schedule,
    pub(crate) interval: Duration,
    lease: Lease,
    /// How long a put may take: what is left of a lease that was just renewed outlasts it.
    pub(crate) put_within: Duration,
    /// Of when the snapshot was that this process put into S3, unless it was announced.
    pub(crate) unannounced: Option<Timestamp>,
    /// A put that was not answered.
    pub(crate) unanswered: Option<Unanswered>,
    /// After a failure: until when to rest, how long that is, and what it was.
    rest: Option<Rest>,
}

/// A put that S3 may do late.
pub(crate) struct Unanswered {
    /// Of when its snapshot is.
    pub(crate) generated_at: Timestamp,
    /// When it is done, or never will be.
    pub(crate) settled: Instant,
}

struct Rest {
    until: Instant,
    lasting: Duration,
    reason: String,
}

impl Publisher {
    /// A publisher between the stores.
    pub fn new(
        hot: Hot,
        cold: Cold,
        s3: S3,
        access: Access,
        snapshot: Part,
        interval: Duration,
    ) -> Self {
        let ttl = (interval / 2).clamp(LEASE_MIN, LEASE_MAX);
        Self {
            lease: Lease::new(&hot, JOB, ttl),
            hot,
            cold,
            s3,
            access,
            snapshot,
            clock: Box::new(SystemClock),
            schedule: Schedule::new(interval),
            interval,
            put_within: ttl / 2,
            unannounced: None,
            unanswered: None,
            rest: None,
        }
    }

    /// Goes on until the drain; then gives the lease back, so that the spare leads at once. Where S3
    /// may still do a put, the lease runs out by itself: the spare's is to come after it.
    pub async fn run(mut self, draining: CancellationToken) {
        while !draining.is_cancelled() {
            let out_of_time = async {
                draining.cancelled().await;
                tokio::time::sleep(FINISH_WITHIN).await;
            };
            let pause = tokio::select! {
                pause = self.step() => pause,
                () = out_of_time => break,
            };
            draining.run_until_cancelled(tokio::time::sleep(pause.max(PAUSE_MIN))).await;
        }
        if self.unannounced.is_none() && self.unanswered.is_none() {
            self.release().await;
        }
    }

    async fn release(&mut self) {
        if let Err(error) = self.lease.release().await {
            debug!(%error, "the lease could not be given back");
        }
    }

    /// Does what there is to do now; gives how long to wait then.
    async fn step(&mut self) -> Duration {
        match self.try_step().await {
            Ok(pause) => pause,
            Err(error) => self.fail(&error).await,
        }
    }

    async fn try_step(&mut self) -> Result<Duration, RunError> {
        let resting = self.rest.as_ref().map(|rest| rest.until.duration_since(Instant::now()));
        let turn = match resting {
            Some(left) if !left.is_zero() => Turn::Others(left),
            _ => self.lease.hold().await?,
        };
        // Asked after the lease: whoever led before has announced what it did.
        let last = self.find_announced().await?;
        self.put_right().await?;
        let is_due = self.schedule.is_due(last.as_ref().map(|last| last.generated_at), self.now());
        if turn != Turn::Mine || !is_due {
            self.show(last.as_ref(), is_due);
        }
        if let Some(last) = last.filter(|_| !is_due) {
            self.try_rights(last).await?;
        }
        let renew_every = self.lease.renew_every();
        match turn {
            Turn::Others(left) => Ok(renew_every.min(left)),
            Turn::Mine if is_due => {
                let began = Instant::now();
                let outcome = self.run_once().await?;
                Ok(self.settle(&outcome, began.elapsed()))
            }
            Turn::Mine => Ok(renew_every.min(self.schedule.until_next(self.now()))),
        }
    }

    /// Makes the snapshot of this interval.
    async fn run_once(&mut self) -> Result<Outcome, RunError> {
        let generated_at = self.now();
        let Some(snapshot) = self.cold.read_statistics(generated_at).await? else {
            return Ok(Outcome::Filling);
        };
        let json = Bytes::from(serde_json::to_vec(&snapshot).expect("invariant: it is plain data"));
        self.lease.hold().await?;
        // Killed here: the spare, or this one started again, finds that the interval has none.
        // Frozen here: the lease is over when it goes on, and the snapshot is not put.
        if self.lease.remaining() < self.put_within {
            return Ok(Outcome::Late);
        }
        self.unannounced = Some(generated_at);
        self.put(json.clone(), generated_at).await?;
        // Killed here: S3 is newer than what is announced, until the next one, soon.
        match self.hot.publish_stats(&self.lease, &json, generated_at).await? {
            StatsPublished::Done => {
                self.unannounced = None;
                Ok(Outcome::Published)
            }
            StatsPublished::Late | StatsPublished::NotLeading => {
                self.put_right().await?;
                Ok(Outcome::Late)
            }
        }
    }

    /// Puts a snapshot into S3.
    pub(crate) async fn put(
        &mut self,
        json: Bytes,
        generated_at: Timestamp,
    ) -> Result<(), S3Error> {
        let outcome = self.s3.put(json, self.put_within).await;
        self.access.note_put(&outcome, self.now());
        if matches!(outcome, Err(S3Error::Unanswered(_))) {
            // Of several, the oldest and the latest end count.
            let oldest = self.unanswered.as_ref().map_or(generated_at, |put| put.generated_at);
            self.unanswered = Some(Unanswered {
                generated_at: oldest.min(generated_at),
                settled: Instant::now() + LANDS_WITHIN,
            });
        }
        outcome
    }

    fn settle(&mut self, outcome: &Outcome, took: Duration) -> Duration {
        let (result, pause) = match outcome {
            Outcome::Published => {
                if self.rest.take().is_some() {
                    info!(object = self.s3.place(), "statistics are published again");
                }
                self.snapshot.up();
                metrics::histogram!(names::SNAPSHOT_SECONDS).record(took.as_secs_f64());
                metrics::gauge!(names::SNAPSHOT_AGE_SECONDS).set(0.0);
                ("published", self.lease.renew_every().min(self.schedule.until_next(self.now())))
            }
            Outcome::Late => ("late", PAUSE_MIN),
            Outcome::Filling => {
                self.snapshot.down("Postgres still counts what was stored before");
                ("filling", self.retry_max().min(self.lease.renew_every()))
            }
        };
        metrics::counter!(names::SNAPSHOTS_TOTAL, "result" => result).increment(1);
        pause
    }

    /// Notes a failure, and lets another publisher try while this one rests.
    async fn fail(&mut self, error: &RunError) -> Duration {
        let reason = error.to_string();
        debug!(error = reason, "no snapshot now");
        self.snapshot.down(reason.as_str());
        if matches!(error, RunError::Hot(_)) {
            // Nobody leads without Redis, and one that is back is to be found soon.
            return RETRY_MIN.min(self.retry_max());
        }
        metrics::counter!(names::SNAPSHOTS_TOTAL, "result" => "failed").increment(1);
        let is_unanswered = matches!(error, RunError::S3(S3Error::Unanswered(_)));
        // What S3 may still do is to be done before another begins: the lease runs out, and the
        // others have looked once more before this one asks for it again.
        let others_turn = if is_unanswered {
            self.lease.remaining() + self.lease.renew_every()
        } else {
            self.release().await;
            Duration::ZERO
        };
        let before = self.rest.as_ref().map_or(Duration::ZERO, |rest| rest.lasting);
        let lasting = (before * 2).max(RETRY_MIN).min(self.retry_max());
        let until = Instant::now() + lasting.max(others_turn);
        self.rest = Some(Rest { until, lasting, reason });
        lasting
    }

    pub(crate) fn retry_max(&self) -> Duration {
        (self.interval / RETRY_PART).min(RETRY_MAX)
    }

    /// Shows how old the last snapshot is, and whether that is as it should be.
    fn show(&mut self, last: Option<&Announced>, is_due: bool) {
        if let Some(last) = last {
            let age = self.now().since(last.generated_at);
            metrics::gauge!(names::SNAPSHOT_AGE_SECONDS).set(age.as_secs_f64());
            if !is_due {
                self.rest = None;
            }
            if self.rest.is_none() && age < self.interval * 2 {
                return self.snapshot.up();
            }
        }
        match (&self.rest, last) {
            (Some(rest), _) => self.snapshot.down(rest.reason.as_str()),
            (None, Some(last)) => {
                self.snapshot.down(format!("the last one is of {}", last.generated_at));
            }
            (None, None) => self.snapshot.down("there is none yet"),
        }
    }

    /// The snapshot that was announced last. One that no clock can have written is none.
    pub(crate) async fn find_announced(&self) -> Result<Option<Announced>, HotError> {
        #[derive(Deserialize)]
        struct Stamp {
            generated_at: Timestamp,
        }
        let Some(json) = self.hot.find_state(StateFeed::Stats).await? else { return Ok(None) };
        let stamp = serde_json::from_slice::<Stamp>(&json).ok();
        let believed =
            stamp.filter(|stamp| Hot::is_state_time_believed(stamp.generated_at, self.now()));
        Ok(believed.map(|stamp| Announced { generated_at: stamp.generated_at, json }))
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
