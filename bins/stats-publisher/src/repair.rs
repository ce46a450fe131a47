//! Brings S3 back to what was announced, after a snapshot was put there too late.

use crate::publisher::{Publisher, RunError};

/// How often a newer one may be announced meanwhile until the rest waits for the next step.
const ROUNDS_MAX: u32 = 3;

impl Publisher {
    /// Where this process has put a snapshot that it did not announce, and a newer one is announced:
    /// puts that one. Two that do so at once end with the newest, as each looks again afterwards.
    pub(crate) async fn put_right(&mut self) -> Result<(), RunError> {
        for _ in 0..ROUNDS_MAX {
            let Some(put) = self.unannounced else { return Ok(()) };
            let announced = self.find_announced().await?;
            let Some(newer) = announced.filter(|announced| announced.generated_at > put) else {
                // What is in S3 is newer than what is announced, or the same.
                self.unannounced = None;
                return Ok(());
            };
            self.put(newer.json).await?;
            self.unannounced = Some(newer.generated_at);
        }
        Ok(())
    }
}
