//! Who samples: one publisher of all.

use std::time::Duration;

use mayfly_hot::{Hot, HotError, Lease, Turn};
use tokio::time::Instant;

/// The job that is led.
const JOB: &str = "rising";
/// A leader that is silent for so long is followed by another: samples are every 5 s, and none is to
/// be missed.
const LEASE: Duration = Duration::from_secs(1);

/// The lease, renewed when it is time for that and not each time it is looked at.
pub struct Lead {
    lease: Lease,
    renewed_at: Option<Instant>,
}

impl Lead {
    /// The lease, which is not asked for yet.
    pub fn new(hot: &Hot) -> Self {
        Self { lease: Lease::new(hot, JOB, LEASE), renewed_at: None }
    }

    /// Whether this process leads. Redis is asked where it is not known, and every third of the time
    /// that the lease lasts; whoever leads calls this at least so often.
    pub async fn hold(&mut self) -> Result<Turn, HotError> {
        if self.renewed_at.is_some_and(|at| at.elapsed() < self.lease.renew_every()) {
            return Ok(Turn::Mine);
        }
        self.renewed_at = None;
        let asked_at = Instant::now();
        let turn = self.lease.hold().await?;
        self.renewed_at = (turn == Turn::Mine).then_some(asked_at);
        Ok(turn)
    }

    /// How long one may do something else before [`hold`](Self::hold) is to be called again.
    pub fn renew_every(&self) -> Duration {
        self.lease.renew_every()
    }

    /// The lease itself, for what is done under it.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Gives it back, so that another process leads at once.
    pub async fn release(&mut self) -> Result<(), HotError> {
        self.renewed_at = None;
        self.lease.release().await
    }
}
