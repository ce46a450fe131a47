//! The counts of plays as Postgres has them, for who reads them and who publishes them.

use std::sync::LazyLock;

use deadpool_redis::redis::{self, Script};
use mayfly_core::{PlayCount, PlayCursor, PublishedCount, Timestamp, limits::SMALL_COUNT_BELOW};

use crate::{error::HotError, pool::Hot, stream::Stream};

static MIRROR: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/mirror_counts.lua")));
static RESTORE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/restore_counts.lua")));
static LIST: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/list_counts.lua")));

/// Videos in one script.
const VIDEOS_AT_ONCE: usize = 1_000;

/// A page of counts.
#[derive(Debug, Clone, Default)]
pub struct CountsPage {
    /// The counts, the highest first.
    pub items: Vec<PlayCount>,
    /// Whether more follow.
    pub has_more: bool,
}

/// What Redis knows of counts. Right after it lost its data it does not know all of them.
#[derive(Debug, Clone)]
pub enum Counts<T> {
    /// This is it.
    Known(T),
    /// It is being told again: Postgres is to be asked.
    Incomplete,
}

impl Hot {
    /// Shows counts as they are in Postgres, and notes for the publisher which of them rose.
    pub async fn mirror_counts(&self, counts: &[PlayCount]) -> Result<(), HotError> {
        let keys = &self.keys;
        for chunk in counts.chunks(VIDEOS_AT_ONCE) {
            let mut call = MIRROR.prepare_invoke();
            call.key(keys.play_counts()).key(keys.play_updates());
            call.key(keys.plays_soon()).key(keys.plays_due()).arg(SMALL_COUNT_BELOW);
            for one in chunk {
                call.arg(&one.video_id).arg(one.count).arg(one.updated_at.as_millis());
            }
            self.call(async |connection| call.invoke_async::<()>(connection).await).await?;
        }
        Ok(())
    }

    /// The present run of Redis: another one since it was started last.
    pub async fn find_run(&self) -> Result<String, HotError> {
        let info: redis::InfoDict = self
            .call(async |connection| redis::cmd("INFO").arg("server").query_async(connection).await)
            .await?;
        Ok(info.get("run_id").unwrap_or_default())
    }

    /// Shows one page of all counts again; with the last one, all are shown. False if the epoch or the
    /// run of Redis is over: nothing was done then.
    pub async fn restore_counts(
        &self,
        epoch: &str,
        run: &str,
        counts: &[PublishedCount],
        is_last: bool,
    ) -> Result<bool, HotError> {
        let keys = &self.keys;
        let mut call = RESTORE.prepare_invoke();
        call.key(keys.epoch()).key(keys.ledger()).key(keys.play_counts()).key(keys.play_updates());
        call.key(keys.plays_published()).key(keys.plays_soon()).key(keys.plays_due());
        call.arg(epoch).arg(run).arg(u8::from(is_last)).arg(SMALL_COUNT_BELOW);
        for PublishedCount { count, published } in counts {
            call.arg(&count.video_id).arg(count.count).arg(count.updated_at.as_millis());
            call.arg(*published);
        }
        let applied: u8 = self.call(async |connection| call.invoke_async(connection).await).await?;
        Ok(applied == 1)
    }

    /// Whether all counts of Postgres are shown in this run of Redis.
    pub async fn has_all_counts(&self, run: &str) -> Result<bool, HotError> {
        let shown: Option<String> = self
            .call(async |connection| {
                redis::cmd("HGET")
                    .arg(self.keys.ledger())
                    .arg(Stream::Plays.field("restored"))
                    .query_async(connection)
                    .await
            })
            .await?;
        Ok(shown.as_deref() == Some(run))
    }

    /// The count of a video; none if it was never played.
    pub async fn find_count(&self, video_id: &str) -> Result<Counts<Option<PlayCount>>, HotError> {
        let keys = &self.keys;
        let (count, updated, is_complete): (Option<u64>, Option<i64>, bool) = self
            .call(async |connection| {
                redis::pipe()
                    .zscore(keys.play_counts(), video_id)
                    .hget(keys.play_updates(), video_id)
                    .hexists(keys.ledger(), Stream::Plays.field("restored"))
                    .query_async(connection)
                    .await
            })
            .await?;
        if !is_complete {
            return Ok(Counts::Incomplete);
        }
        let updated_at = Timestamp::from_millis(updated.unwrap_or(0));
        Ok(Counts::Known(count.map(|count| PlayCount {
            video_id: video_id.to_owned(),
            count,
            updated_at,
        })))
    }

    /// Lists counts, the highest first, behind a cursor.
    pub async fn list_counts(
        &self,
        limit: u32,
        behind: Option<&PlayCursor>,
    ) -> Result<Counts<CountsPage>, HotError> {
        let keys = &self.keys;
        let mut call = LIST.prepare_invoke();
        call.key(keys.play_counts()).key(keys.play_updates()).key(keys.ledger()).arg(limit);
        if let Some(PlayCursor { count, video, listed }) = behind {
            let listed = listed.map(|listed| listed.to_string()).unwrap_or_default();
            call.arg(*count).arg(&video[..]).arg(listed);
        }
        let answer: Vec<redis::Value> =
            self.call(async |connection| call.invoke_async(connection).await).await?;
        let [is_complete, has_more, items @ ..] = &answer[..] else {
            return Ok(Counts::Incomplete);
        };
        if *is_complete != redis::Value::Int(1) {
            return Ok(Counts::Incomplete);
        }
        let items = items.chunks_exact(3).filter_map(read_count).collect();
        Ok(Counts::Known(CountsPage { items, has_more: *has_more == redis::Value::Int(1) }))
    }
}

impl Hot {
    /// How many plays are accepted and not yet counted.
    pub async fn count_waiting_plays(&self) -> Result<u64, HotError> {
        let waiting: Option<i64> = self
            .call(async |connection| {
                redis::cmd("HGET")
                    .arg(self.keys.ledger())
                    .arg(Stream::Plays.field("waiting"))
                    .query_async(connection)
                    .await
            })
            .await?;
        Ok(waiting.and_then(|waiting| u64::try_from(waiting).ok()).unwrap_or(0))
    }

    /// Deletes the counts of all videos whose ids begin like this, and what was published of them, as
    /// if they had never been played. Looks at every video, in bounded steps: for an operator, who sees
    /// to it that none of them is played meanwhile. Gives how many there were.
    pub async fn delete_play_counts(&self, beginning: &str) -> Result<u64, HotError> {
        let pattern = format!("{}*", escape_pattern(beginning));
        let (mut cursor, mut deleted) = (0_u64, 0);
        loop {
            let (next, found): (u64, Vec<(String, f64)>) = self
                .call(async |connection| {
                    redis::cmd("ZSCAN")
                        .arg(self.keys.play_counts())
                        .arg(cursor)
                        .arg("MATCH")
                        .arg(&pattern)
                        .arg("COUNT")
                        .arg(VIDEOS_AT_ONCE)
                        .query_async(connection)
                        .await
                })
                .await?;
            let videos: Vec<_> = found.into_iter().map(|(video, _)| video).collect();
            for chunk in videos.chunks(VIDEOS_AT_ONCE) {
                deleted += self.delete_counts_of(chunk).await?;
            }
            if next == 0 {
                return Ok(deleted);
            }
            cursor = next;
        }
    }

    async fn delete_counts_of(&self, videos: &[String]) -> Result<u64, HotError> {
        let keys = &self.keys;
        let mut pipe = redis::pipe();
        let sets =
            [keys.plays_soon(), keys.plays_due(), keys.plays_due_now(), keys.plays_unsaved()];
        for set in sets {
            pipe.srem(set, videos).ignore();
        }
        pipe.hdel(keys.plays_published(), videos).ignore();
        pipe.hdel(keys.play_updates(), videos).ignore();
        // Last: what was cut off before is found again by its count.
        pipe.zrem(keys.play_counts(), videos);
        let (deleted,): (u64,) =
            self.call(async |connection| pipe.query_async(connection).await).await?;
        Ok(deleted)
    }
}

/// A text as a pattern of Redis that matches nothing else.
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

fn read_count(parts: &[redis::Value]) -> Option<PlayCount> {
    let [video_id, count, updated] = parts else { return None };
    Some(PlayCount {
        video_id: redis::from_redis_value_ref(video_id).ok()?,
        count: redis::from_redis_value_ref(count).ok()?,
        updated_at: Timestamp::from_millis(redis::from_redis_value_ref(updated).ok()?),
    })
}
