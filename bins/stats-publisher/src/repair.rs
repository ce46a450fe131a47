//! Puts what is announced into S3 once more: after a snapshot was put there too late, and to learn
//! whether a publisher that was refused may put again.

use tokio::time::Instant;
use tracing::debug;

use crate::publisher::{Announced, Publisher, RunError};

/// How often a newer one may be announced meanwhile until the rest waits for the next step.
const ROUNDS_MAX: u32 = 3;

impl Publisher {
    /// Where this process has put a snapshot that it did not announce, and a newer one is announced:
    /// puts that one. Two that do so at once end with the newest, as each looks again afterwards.
    ///
    /// A put that was not answered is looked at at once, and once more when it is settled.
    pub(crate) async fn put_right(&mut self) -> Result<(), RunError> {
        if let Some(late) = self.unanswered.take_if(|put| put.settled <= Instant::now()) {
            let put = self.unannounced.unwrap_or(late.generated_at);
            self.unannounced = Some(put.min(late.generated_at));
        }
        for _ in 0..ROUNDS_MAX {
            let Some(put) = self.unannounced else { return Ok(()) };
            let announced = self.find_announced().await?;
            let Some(newer) = announced.filter(|announced| announced.generated_at > put) else {
                // What is in S3 is newer than what is announced, or the same.
                self.unannounced = None;
                return Ok(());
            };
            self.put(newer.json, newer.generated_at).await?;
            self.unannounced = Some(newer.generated_at);
        }
        Ok(())
    }

    /// A publisher that was refused to put leads no more while another one may, and would not hear
    /// of rights that came back. So now and then it puts what is announced already, where nobody
    /// else puts anything: far enough from the next interval.
    pub(crate) async fn try_rights(&mut self, last: Announced) -> Result<(), RunError> {
        let now = self.now();
        let is_time = |refused_at| now.since(refused_at) >= self.retry_max();
        let is_quiet = self.schedule.until_next(now) >= self.put_within.min(self.interval / 2);
        if !is_quiet || !self.access.put_refused_at().is_some_and(is_time) {
            return Ok(());
        }
        self.unannounced = Some(last.generated_at);
        if let Err(error) = self.put(last.json, last.generated_at).await {
            debug!(%error, "may still not put");
        }
        self.put_right().await
    }
}
