//! The queue: a Redis stream with a consumer group. Delivery is at least once; whoever works on an
//! entry acknowledges it after its effect is safe.

use std::{sync::LazyLock, time::Duration};

use deadpool_redis::redis::{self, Script};
use mayfly_core::MessageId;

use crate::{error::HotError, pool::Hot};

/// The consumer group of the workers that store.
pub const GROUP: &str = "persist";

static COUNT_ATTEMPT: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/count_attempt.lua")));

/// Ids in one command.
const COMMAND_IDS_MAX: usize = 1_000;

impl Hot {
    /// Makes the stream and its group if they are not there; begins where the stream begins.
    pub async fn create_group(&self) -> Result<(), HotError> {
        let created = self
            .call(async |connection| {
                redis::cmd("XGROUP")
                    .arg("CREATE")
                    .arg(self.keys.messages())
                    .arg(GROUP)
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
    pub async fn touch(&self, consumer: &str, entry_ids: &[&str]) -> Result<(), HotError> {
        for chunk in entry_ids.chunks(COMMAND_IDS_MAX) {
            self.call(async |connection| {
                redis::cmd("XCLAIM")
                    .arg(self.keys.messages())
                    .arg(GROUP)
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

    /// Acknowledges entries whose effect is safe, and takes away what stood in for it: the waiting
    /// references of `stored` messages, and what a take left of `settled` ones. Plain commands: a
    /// full Redis takes no transaction. They may be cut off between any two, and be given again,
    /// because the entries are acknowledged last.
    pub async fn ack(
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
            pipe.cmd("XACK").arg(self.keys.messages()).arg(GROUP).arg(chunk).ignore();
        }
        self.call(async |connection| pipe.query_async::<()>(connection).await).await
    }

    /// Counts one more refusal of an entry; gives how many there were. Kept for a day.
    pub async fn count_attempt(&self, entry_id: &str) -> Result<u64, HotError> {
        const KEPT: Duration = Duration::from_secs(86_400);
        let mut call = COUNT_ATTEMPT.prepare_invoke();
        call.key(self.keys.attempts(entry_id)).arg(KEPT.as_secs());
        self.call(async |connection| call.invoke_async(connection).await).await
    }

    /// Forgets how often an entry was refused.
    pub async fn forget_attempts(&self, entry_id: &str) -> Result<(), HotError> {
        let key = self.keys.attempts(entry_id);
        self.call(async |connection| {
            redis::cmd("DEL").arg(&key).query_async::<()>(connection).await
        })
        .await
    }
}
