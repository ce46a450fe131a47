//! Plays and their counts.

mod accept;
mod counts;
mod frames;
mod publish;
mod unreadable_keys;

use mayfly_core::{PlayCount, PublishedCount, Timestamp};
use mayfly_hot::{CountsRead, ExhaustedClients, PlayWriteRequest, PlayWriter};

use crate::{TestStore, origin};

const EPOCH: &str = "epoch";

/// Returns the count of a video that was last played at this time in milliseconds.
fn count_at(video: &str, count: u64, millis: i64) -> PlayCount {
    PlayCount { video_id: video.into(), count, updated_at: Timestamp::from_millis(millis) }
}

fn count(video: &str, number: u64) -> PlayCount {
    count_at(video, number, 1)
}

/// Returns a request with this number of plays.
pub(crate) fn write_request(count: usize) -> PlayWriteRequest {
    PlayWriteRequest { count, json: "{}".into(), origin: origin(), limit: None, idempotency: None }
}

impl TestStore {
    pub(crate) fn play_writer(&self) -> PlayWriter {
        PlayWriter::start(&self.hot, &self.settings, ExhaustedClients::default())
    }

    /// Begins an epoch without counts and marks all counts as restored.
    async fn restore_no_counts(&self) {
        self.query::<()>(&["SET", &self.keys().epoch(), EPOCH]).await;
        assert!(self.restore(&[], true).await);
    }

    /// Restores counts and published counts for the current epoch and run.
    async fn restore(&self, counts: &[(PlayCount, u64)], is_last: bool) -> bool {
        let run_id = self.hot.plays().find_run_id().await.expect("Redis responds");
        self.restore_for(EPOCH, &run_id, counts, is_last).await
    }

    async fn restore_for(
        &self,
        epoch: &str,
        run_id: &str,
        counts: &[(PlayCount, u64)],
        is_last: bool,
    ) -> bool {
        let counts: Vec<_> = counts
            .iter()
            .map(|(count, published)| PublishedCount {
                count: count.clone(),
                published: *published,
            })
            .collect();
        let restored = self.hot.plays().restore_counts(epoch, run_id, &counts, is_last).await;
        restored.expect("Redis responds")
    }

    async fn mirror(&self, counts: &[PlayCount]) {
        self.hot.plays().mirror_counts(counts).await.expect("Redis responds");
    }

    /// Returns the count of a video. Panics if the counts are not restored.
    async fn find_count(&self, video: &str) -> Option<PlayCount> {
        match self.hot.plays().find_count(video).await.expect("Redis responds") {
            CountsRead::Complete(count) => count,
            CountsRead::Incomplete => panic!("the counts are not restored"),
        }
    }
}
