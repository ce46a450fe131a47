//! Counts of plays and the pulse, as the handlers need them: from Redis, and from Postgres for the
//! moments in which Redis does not know all counts.

use bytes::Bytes;
use mayfly_cold::Cold;
use mayfly_core::{PlayCount, PlayCursor, VideoId};
use mayfly_hot::{self as hot, CountsPage, Hot, StateFeed};
use mayfly_http::Problem;

use crate::problems::{no_pulse, of_cold, of_hot};

/// What the handlers of one thread need.
pub struct Counts {
    hot: Hot,
    cold: Cold,
}

impl Counts {
    /// Between the two stores.
    pub fn new(hot: Hot, cold: Cold) -> Self {
        Self { hot, cold }
    }

    /// The count of a video; none if it was never played.
    pub async fn find_count(&self, video_id: &VideoId) -> Result<Option<PlayCount>, Problem> {
        let count = self.hot.find_count(video_id.as_str()).await;
        match count.map_err(|error| of_hot(&error))? {
            hot::Counts::Known(count) => Ok(count),
            hot::Counts::Incomplete => {
                let count = self.cold.find_play_count(video_id.as_str()).await;
                count.map_err(|error| of_cold(&error))
            }
        }
    }

    /// Lists counts, the highest first, behind a cursor.
    pub async fn list_counts(
        &self,
        limit: u32,
        behind: Option<&PlayCursor>,
    ) -> Result<CountsPage, Problem> {
        let page = self.hot.list_counts(limit, behind).await;
        match page.map_err(|error| of_hot(&error))? {
            hot::Counts::Known(page) => Ok(page),
            hot::Counts::Incomplete => {
                let items = self.cold.list_play_counts(limit + 1, behind).await;
                let mut items = items.map_err(|error| of_cold(&error))?;
                let has_more = items.len() > limit as usize;
                items.truncate(limit as usize);
                Ok(CountsPage { items, has_more })
            }
        }
    }

    /// The pulse as it was taken last, JSON: at most some seconds ago.
    pub async fn find_pulse(&self) -> Result<Bytes, Problem> {
        let pulse = self.hot.find_state(StateFeed::Pulse).await;
        pulse.map_err(|error| of_hot(&error))?.ok_or_else(no_pulse)
    }
}
