//! Reads play counts from Redis, or from Postgres while Redis does not have all counts.

use mayfly_cold::ColdStore;
use mayfly_core::{PlayCount, PlayCursor, VideoId};
use mayfly_hot::{CountsPage, CountsRead, HotStore};
use mayfly_http::Problem;

/// Queries for play counts. Each HTTP thread has its own instance.
pub struct PlayCountQueries {
    hot: HotStore,
    cold: ColdStore,
}

impl PlayCountQueries {
    /// Creates the queries.
    pub fn new(hot: HotStore, cold: ColdStore) -> Self {
        Self { hot, cold }
    }

    /// Returns the count of a video, or `None` if the video has never been played.
    pub async fn find_count(&self, video_id: &VideoId) -> Result<Option<PlayCount>, Problem> {
        match self.hot.plays().find_count(video_id.as_str()).await? {
            CountsRead::Complete(count) => Ok(count),
            CountsRead::Incomplete => Ok(self.cold.play_counts().find(video_id.as_str()).await?),
        }
    }

    /// Lists the counts after `cursor`, highest first.
    pub async fn list_counts(
        &self,
        limit: u32,
        cursor: Option<&PlayCursor>,
    ) -> Result<CountsPage, Problem> {
        match self.hot.plays().list_counts(limit, cursor).await? {
            CountsRead::Complete(page) => Ok(page),
            CountsRead::Incomplete => {
                let mut items = self.cold.play_counts().list(limit + 1, cursor).await?;
                let has_more = items.len() > limit as usize;
                items.truncate(limit as usize);
                Ok(CountsPage { items, has_more })
            }
        }
    }
}
