//! Restoration of hot copies and inboxes after Redis has lost its data.

use deadpool_redis::redis::{self, Value};
use mayfly_core::{MessageId, Timestamp};

use crate::{
    connection::{HotError, script},
    messages::Messages,
};

script!(RESTORE, include_str!("restore_messages.lua"));

/// A message that is live according to Postgres.
#[derive(Debug, Clone)]
pub struct LiveMessage {
    /// The message ID.
    pub id: MessageId,
    /// The username of the message, if there is one. The message is restored to the inbox of this
    /// username.
    pub username: Option<String>,
    /// The message as clients receive it, as one line of JSON.
    pub json: Vec<u8>,
    /// The expiry time. The message is not restored if this time has passed according to the clock
    /// of Redis.
    pub expires_at: Timestamp,
}

/// The progress of restoring messages in the current [`epoch`](crate::Keys::epoch).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestoreProgress {
    /// Messages up to this ID have been restored. The ID is empty before the first page.
    UpTo(String),
    /// All messages have been restored.
    Done,
}

const DONE: &str = "done";

impl RestoreProgress {
    fn as_str(&self) -> &str {
        match self {
            Self::UpTo(id) => id,
            Self::Done => DONE,
        }
    }
}

impl Messages<'_> {
    /// Returns the progress of restoring messages in the current epoch.
    pub async fn find_restore_progress(self) -> Result<RestoreProgress, HotError> {
        let progress: Option<String> = self
            .store
            .call(async |connection| {
                redis::cmd("HGET")
                    .arg(self.store.keys.ledger())
                    .arg("messages.restored")
                    .query_async(connection)
                    .await
            })
            .await?;
        Ok(match progress {
            Some(progress) if progress == DONE => RestoreProgress::Done,
            progress => RestoreProgress::UpTo(progress.unwrap_or_default()),
        })
    }

    /// Restores one page of messages and advances the progress from `from` to `to`. Existing copies
    /// are left unchanged. Returns false and changes nothing if this page has already been restored
    /// or the epoch has changed. Skips an inbox whose key has the wrong type; its messages can
    /// still be found by ID. O(m log i) for m messages and i IDs per inbox.
    pub async fn restore_page(
        self,
        epoch: &str,
        from: &RestoreProgress,
        to: &RestoreProgress,
        messages: &[LiveMessage],
    ) -> Result<bool, HotError> {
        let keys = &self.store.keys;
        let mut call = RESTORE.prepare_invoke();
        call.key(keys.epoch()).key(keys.ledger()).key(keys.taken());
        call.arg(epoch).arg(from.as_str()).arg(to.as_str());
        for message in messages {
            let key = keys.message(message.id);
            match &message.username {
                Some(username) => call.key(&key).key(keys.inbox(username)),
                None => call.key(&key).key(&key),
            };
            call.arg(message.id.to_string()).arg(&message.json);
            call.arg(message.expires_at.as_millis());
        }
        let reply: Vec<Value> =
            self.store.call(async |connection| call.invoke_async(connection).await).await?;
        self.store.record_unreadable(reply.get(1..).unwrap_or_default());
        Ok(reply.first() == Some(&Value::Int(1)))
    }
}
