//! Creates consumer groups, acknowledges entries and counts failed attempts.

use std::time::Duration;

use deadpool_redis::redis;
use mayfly_core::MessageId;

use crate::{
    connection::{HotError, script},
    queue::{Queue, Stream},
};

script!(CREATE_GROUP, include_str!("create_group.lua"));
script!(ACK_PLAYS, include_str!("ack_plays.lua"));
script!(COUNT_ATTEMPT, include_str!("count_attempt.lua"));

/// The maximum number of IDs in one command or script call.
const COMMAND_IDS_MAX: usize = 1_000;

impl Queue<'_> {
    /// Creates a stream and its consumer group if they do not exist, even if Redis is full. A new
    /// group starts at the first entry.
    pub async fn create_group(self, stream: Stream) -> Result<(), HotError> {
        let mut call = CREATE_GROUP.prepare_invoke();
        call.key(self.store.keys.stream(stream)).arg(stream.group());
        self.store.call(async |connection| call.invoke_async::<()>(connection).await).await
    }

    /// Resets the idle time of entries that a consumer is processing, so that no other consumer
    /// claims them.
    pub async fn reset_idle(
        self,
        stream: Stream,
        consumer: &str,
        entry_ids: &[&str],
    ) -> Result<(), HotError> {
        for chunk in entry_ids.chunks(COMMAND_IDS_MAX) {
            self.store
                .call(async |connection| {
                    redis::cmd("XCLAIM")
                        .arg(self.store.keys.stream(stream))
                        .arg(stream.group())
                        .arg(consumer)
                        .arg(0)
                        .arg(chunk)
                        .arg("JUSTID")
                        .query_async::<()>(connection)
                        .await
                })
                .await?;
        }
        Ok(())
    }

    /// Acknowledges entries of the message stream. The effects of the entries must already be
    /// committed to Postgres. Also removes `stored` from the waiting messages, and deletes the JSON
    /// of the `expired` messages, which Redis keeps only until Postgres has stored their new expiry
    /// time.
    ///
    /// The commands do not form a transaction, because a full Redis would reject a transaction. An
    /// interrupted call can be repeated, because the entries are acknowledged last.
    pub async fn ack_messages(
        self,
        entry_ids: &[&str],
        stored: &[MessageId],
        expired: &[MessageId],
    ) -> Result<(), HotError> {
        let keys = &self.store.keys;
        let mut pipe = redis::pipe();
        let fields = |ids: &[MessageId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
        for chunk in stored.chunks(COMMAND_IDS_MAX) {
            pipe.hdel(keys.waiting(), fields(chunk)).ignore();
        }
        for chunk in expired.chunks(COMMAND_IDS_MAX) {
            pipe.hdel(keys.taken(), fields(chunk)).ignore();
        }
        for chunk in entry_ids.chunks(COMMAND_IDS_MAX) {
            let stream = Stream::Messages;
            pipe.cmd("XACK").arg(keys.stream(stream)).arg(stream.group()).arg(chunk).ignore();
        }
        self.store.call(async |connection| pipe.query_async::<()>(connection).await).await
    }

    /// Acknowledges entries of the play stream, and subtracts their plays from the number of
    /// waiting plays. The effects of the entries must already be committed to Postgres. `entries`
    /// contains the ID of each entry and the number of plays in the entry.
    pub async fn ack_plays(self, entries: &[(&str, u64)]) -> Result<(), HotError> {
        let (stream, keys) = (Stream::Plays, &self.store.keys);
        for chunk in entries.chunks(COMMAND_IDS_MAX) {
            let mut call = ACK_PLAYS.prepare_invoke();
            call.key(keys.stream(stream)).key(keys.ledger()).arg(stream.group());
            for (entry_id, plays) in chunk {
                call.arg(*entry_id).arg(*plays);
            }
            self.store.call(async |connection| call.invoke_async::<()>(connection).await).await?;
        }
        Ok(())
    }

    /// Counts a failed attempt to process an entry. Returns the number of failed attempts, which
    /// Redis keeps for a day after the last attempt.
    pub async fn count_attempt(self, stream: Stream, entry_id: &str) -> Result<u64, HotError> {
        const TTL: Duration = Duration::from_secs(86_400);
        let mut call = COUNT_ATTEMPT.prepare_invoke();
        call.key(self.store.keys.attempts(stream, entry_id)).arg(TTL.as_secs());
        self.store.call(async |connection| call.invoke_async(connection).await).await
    }

    /// Deletes the count of failed attempts to process an entry.
    pub async fn clear_attempts(self, stream: Stream, entry_id: &str) -> Result<(), HotError> {
        let key = self.store.keys.attempts(stream, entry_id);
        self.store
            .call(async |connection| {
                redis::cmd("DEL").arg(&key).query_async::<()>(connection).await
            })
            .await
    }
}
