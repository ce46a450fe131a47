//! Reconciles the object in S3 with the announced snapshot.

use tokio::time::Instant;
use tracing::{debug, info};

use super::{AnnouncedSnapshot, PublishError, SnapshotPublisher};

/// The maximum number of uploads per call of `reconcile`. The next call continues.
const ROUNDS_MAX: u32 = 3;

impl SnapshotPublisher {
    /// Uploads the announced snapshot again if this instance may have overwritten it with an older
    /// one. Concurrent reconciliations converge to the newest snapshot, because each one checks
    /// again after its upload.
    ///
    /// After an upload times out, the check runs in the next step, and again once S3 can no longer
    /// apply the upload.
    pub(super) async fn reconcile(&mut self) -> Result<(), PublishError> {
        if let Some(late) = self.pending_upload.take_if(|put| put.settled_at <= Instant::now()) {
            let uploaded = self.unannounced.unwrap_or(late.generated_at);
            self.unannounced = Some(uploaded.min(late.generated_at));
        }
        for _ in 0..ROUNDS_MAX {
            let Some(uploaded) = self.unannounced else { return Ok(()) };
            let announced = self.find_announced().await?;
            let Some(newer) = announced.filter(|announced| announced.generated_at > uploaded)
            else {
                // The object in S3 is at least as new as the announced snapshot.
                self.unannounced = None;
                return Ok(());
            };
            self.upload(newer.json, newer.generated_at).await?;
            self.unannounced = Some(newer.generated_at);
        }
        Ok(())
    }

    /// Uploads the announced snapshot again if the object is missing. If S3 has denied an upload by
    /// this instance, and no later upload by this instance has succeeded, does nothing until the
    /// maximum backoff has elapsed since the denial, and then uploads the snapshot even if the
    /// object exists.
    ///
    /// The object is missing if it was deleted, or if the configured bucket or key is new. An
    /// instance with a denied upload usually does not become the leader while another instance can
    /// upload. Only the upload by this function lets the instance detect that its permissions were
    /// restored. The upload runs only if the next interval is so far away that no other instance is
    /// about to upload.
    pub(super) async fn restore_object(
        &mut self,
        last: &AnnouncedSnapshot,
    ) -> Result<(), PublishError> {
        let now = self.now();
        let is_quiet = self.schedule.until_next(now) >= self.upload_timeout.min(self.interval / 2);
        let is_due = match self.s3_health.upload_denied_at() {
            Some(denied_at) => now.since(denied_at) >= self.backoff_max(),
            None => self.s3_health.is_object_missing(),
        };
        if !is_quiet || !is_due {
            return Ok(());
        }
        if self.s3_health.is_object_missing() {
            // Another instance may have uploaded the object since the last check.
            self.s3_health.check(&self.s3).await;
            if !self.s3_health.is_object_missing() {
                return Ok(());
            }
        }
        self.unannounced = Some(last.generated_at);
        match self.upload(last.json.clone(), last.generated_at).await {
            Ok(()) => info!(object = self.s3.location(), "uploaded the last snapshot again"),
            Err(error) => debug!(%error, "cannot upload the last snapshot again"),
        }
        self.reconcile().await
    }
}
