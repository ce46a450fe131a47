//! Reads and deletes play counts.

use deadpool_redis::redis;
use mayfly_core::{PlayCount, PlayCursor, Timestamp};

use crate::{
    connection::{HotError, script},
    plays::{Plays, VIDEOS_PER_CALL},
    queue::Stream,
};

script!(FIND, include_str!("find_count.lua"));
script!(LIST, include_str!("list_counts.lua"));

/// A page of counts.
#[derive(Debug, Clone, Default)]
pub struct CountsPage {
    /// The counts, highest first.
    pub items: Vec<PlayCount>,
    /// Whether more counts follow.
    pub has_more: bool,
}

/// The result of reading counts.
#[derive(Debug, Clone)]
pub enum CountsRead<T> {
    /// All counts have been restored to Redis since Redis started.
    Complete(T),
    /// Redis may lack some counts. The caller must read the counts from Postgres instead.
    Incomplete,
}

impl Plays<'_> {
    /// Returns the count of a video, or `None` if no play of the video has been counted. O(1).
    pub async fn find_count(
        self,
        video_id: &str,
    ) -> Result<CountsRead<Option<PlayCount>>, HotError> {
        let keys = &self.store.keys;
        let mut call = FIND.prepare_invoke();
        call.key(keys.play_counts()).key(keys.play_updates()).key(keys.ledger()).arg(video_id);
        let (is_complete, count, updated_at): (bool, Option<u64>, Option<i64>) =
            self.store.call(async |connection| call.invoke_async(connection).await).await?;
        if !is_complete {
            return Ok(CountsRead::Incomplete);
        }
        let updated_at = Timestamp::from_millis(updated_at.unwrap_or(0));
        Ok(CountsRead::Complete(count.map(|count| PlayCount {
            video_id: video_id.to_owned(),
            count,
            updated_at,
        })))
    }

    /// Lists at most `limit` counts, highest first, starting after the cursor if there is one.
    /// O(log² n + m) for n stored counts and m listed counts.
    pub async fn list_counts(
        self,
        limit: u32,
        after: Option<&PlayCursor>,
    ) -> Result<CountsRead<CountsPage>, HotError> {
        let keys = &self.store.keys;
        let mut call = LIST.prepare_invoke();
        call.key(keys.play_counts()).key(keys.play_updates()).key(keys.ledger()).arg(limit);
        if let Some(PlayCursor { count, video, listed }) = after {
            let listed = listed.map(|listed| listed.to_string()).unwrap_or_default();
            call.arg(*count).arg(&video[..]).arg(listed);
        }
        let reply: Vec<redis::Value> =
            self.store.call(async |connection| call.invoke_async(connection).await).await?;
        let [is_complete, has_more, items @ ..] = &reply[..] else {
            return Ok(CountsRead::Incomplete);
        };
        if *is_complete != redis::Value::Int(1) {
            return Ok(CountsRead::Incomplete);
        }
        let items = items.chunks_exact(3).filter_map(parse_count).collect();
        Ok(CountsRead::Complete(CountsPage { items, has_more: *has_more == redis::Value::Int(1) }))
    }

    /// Returns the number of accepted plays that have not been counted yet.
    pub async fn count_waiting(self) -> Result<u64, HotError> {
        let waiting: Option<i64> = self
            .store
            .call(async |connection| {
                redis::cmd("HGET")
                    .arg(self.store.keys.ledger())
                    .arg(Stream::Plays.ledger_field("waiting"))
                    .query_async(connection)
                    .await
            })
            .await?;
        Ok(waiting.and_then(|waiting| u64::try_from(waiting).ok()).unwrap_or(0))
    }

    /// Deletes from Redis the counts of all videos with IDs that start with `prefix`, as if the
    /// videos had never been played. Returns the number of deleted counts. The operator must ensure
    /// that none of these videos is played during the call. O(n) for n videos in total, in bounded
    /// steps.
    pub async fn delete_counts(self, prefix: &str) -> Result<u64, HotError> {
        let pattern = format!("{}*", escape_pattern(prefix));
        let (mut cursor, mut deleted) = (0_u64, 0);
        loop {
            let (next, found): (u64, Vec<(String, f64)>) = self
                .store
                .call(async |connection| {
                    redis::cmd("ZSCAN")
                        .arg(self.store.keys.play_counts())
                        .arg(cursor)
                        .arg("MATCH")
                        .arg(&pattern)
                        .arg("COUNT")
                        .arg(VIDEOS_PER_CALL)
                        .query_async(connection)
                        .await
                })
                .await?;
            let videos: Vec<_> = found.into_iter().map(|(video, _)| video).collect();
            for chunk in videos.chunks(VIDEOS_PER_CALL) {
                deleted += self.delete_videos(chunk).await?;
            }
            if next == 0 {
                return Ok(deleted);
            }
            cursor = next;
        }
    }

    async fn delete_videos(self, videos: &[String]) -> Result<u64, HotError> {
        let keys = &self.store.keys;
        let mut pipe = redis::pipe();
        let sets = [
            keys.plays_changed_small(),
            keys.plays_changed_large(),
            keys.plays_publishing(),
            keys.plays_unsaved(),
        ];
        for set in sets {
            pipe.srem(set, videos).ignore();
        }
        pipe.hdel(keys.plays_published(), videos).ignore();
        pipe.hdel(keys.play_updates(), videos).ignore();
        // The counts are deleted last, so that a retry after an interruption still finds the
        // videos.
        pipe.zrem(keys.play_counts(), videos);
        let (deleted,): (u64,) =
            self.store.call(async |connection| pipe.query_async(connection).await).await?;
        Ok(deleted)
    }
}

/// Escapes text for use in a glob-style pattern.
fn escape_pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}

fn parse_count(parts: &[redis::Value]) -> Option<PlayCount> {
    let [video_id, count, updated_at] = parts else { return None };
    Some(PlayCount {
        video_id: redis::from_redis_value_ref(video_id).ok()?,
        count: redis::from_redis_value_ref(count).ok()?,
        updated_at: Timestamp::from_millis(redis::from_redis_value_ref(updated_at).ok()?),
    })
}
