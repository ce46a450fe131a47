//! The queues: Redis streams with a consumer group each. Delivery is at least once; whoever works on an
//! entry acknowledges it after its effect is safe.

use std::{sync::LazyLock, time::Duration};

use deadpool_redis::redis::{self, Script};
use mayfly_core::MessageId;

use crate::{error::HotError, pool::Hot, stream::Stream};

static ACK_PLAYS: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/ack_plays.lua")));
static COUNT_ATTEMPT: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/count_attempt.lua")));

/// Ids in one command.
const COMMAND_IDS_MAX: usize = 1_000;

impl Hot {
    /// Makes a stream and its group if they are not there; begins where the stream begins.
    pub async fn create_group(&self, stream: Stream) -> Result<(), HotError> {
        let created = self
            .call(async |connection| {
                redis::cmd("XGROUP")
                    .arg("CREATE")
                    .arg(stream.key(&self.keys))
                    .arg(stream.group())
                    .arg("0")
                    .arg("MKSTREAM")
                    .query_async::<()>(connection)
                    .await
            })
            .await;
        match created {
            Err(HotError::Refused(error)) if error.code() == Some("BUSYGROUP") => Ok(()),
            other => other,
        }
    }

    /// Says that a consumer is still at work on these entries, so that nobody takes them over.
    pub async fn touch(
        &self,
        stream: Stream,
        consumer: &str,
        entry_ids: &[&str],
    ) -> Result<(), HotError> {
        for chunk in entry_ids.chunks(COMMAND_IDS_MAX) {
            self.call(async |connection| {
                redis::cmd("XCLAIM")
                    .arg(stream.key(&self.keys))
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

    /// Acknowledges messages whose effect is safe, and takes away what stood in for it: the waiting
    /// references of `stored` messages, and what a take left of `settled` ones. Plain commands: a
    /// full Redis takes no transaction. They may be cut off between any two, and be given again,
    /// because the entries are acknowledged last.
    pub async fn ack_messages(
        &self,
        entry_ids: &[&str],
        stored: &[MessageId],
        settled: &[MessageId],
    ) -> Result<(), HotError> {
        let mut pipe = redis::pipe();
        let names = |ids: &[MessageId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
        for chunk in stored.chunks(COMMAND_IDS_MAX) {
            pipe.hdel(self.keys.waiting(), names(chunk)).ignore();
        }
        for chunk in settled.chunks(COMMAND_IDS_MAX) {
            pipe.hdel(self.keys.taken(), names(chunk)).ignore();
        }
        for chunk in entry_ids.chunks(COMMAND_IDS_MAX) {
            let stream = Stream::Messages;
            pipe.cmd("XACK").arg(stream.key(&self.keys)).arg(stream.group()).arg(chunk).ignore();
        }
        self.call(async |connection| pipe.query_async::<()>(connection).await).await
    }

    /// Acknowledges entries of plays whose effect is safe, each with its number of plays.
    pub async fn ack_plays(&self, entries: &[(&str, u64)]) -> Result<(), HotError> {
        let stream = Stream::Plays;
        for chunk in entries.chunks(COMMAND_IDS_MAX) {
            let mut call = ACK_PLAYS.prepare_invoke();
            call.key(stream.key(&self.keys)).key(self.keys.ledger()).arg(stream.group());
            for (entry_id, plays) in chunk {
                call.arg(*entry_id).arg(*plays);
            }
            self.call(async |connection| call.invoke_async::<()>(connection).await).await?;
        }
        Ok(())
    }

    /// Counts one more refusal of an entry; gives how many there were. Kept for a day.
    pub async fn count_attempt(&self, stream: Stream, entry_id: &str) -> Result<u64, HotError> {
        const KEPT: Duration = Duration::from_secs(86_400);
        let mut call = COUNT_ATTEMPT.prepare_invoke();
        call.key(self.keys.attempts(stream, entry_id)).arg(KEPT.as_secs());
        self.call(async |connection| call.invoke_async(connection).await).await
    }

    /// Forgets how often an entry was refused.
    pub async fn forget_attempts(&self, stream: Stream, entry_id: &str) -> Result<(), HotError> {
        let key = self.keys.attempts(stream, entry_id);
        self.call(async |connection| {
            redis::cmd("DEL").arg(&key).query_async::<()>(connection).await
        })
        .await
    }
}
