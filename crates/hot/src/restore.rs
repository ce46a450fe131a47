//! Making hot copies and inboxes again after Redis lost its data.

use std::{sync::LazyLock, time::Duration};

use deadpool_redis::redis::{self, Script};
use mayfly_core::MessageId;

use crate::{error::HotError, pool::Hot};

static RESTORE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/restore.lua")));

/// A message that is live according to Postgres.
#[derive(Debug, Clone)]
pub struct LiveMessage {
    /// Its id.
    pub id: MessageId,
    /// Whose inbox it lies in.
    pub username: Option<String>,
    /// The message as clients see it, one line of JSON.
    pub json: Vec<u8>,
    /// How long it is still to live.
    pub remaining: Duration,
}

/// How far the copies of an epoch are made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restored {
    /// Up to this id; empty at the beginning.
    UpTo(String),
    /// All of them.
    Done,
}

const DONE: &str = "done";

impl Restored {
    fn as_str(&self) -> &str {
        match self {
            Self::UpTo(id) => id,
            Self::Done => DONE,
        }
    }
}

impl Hot {
    /// How far the copies of the present epoch are made again.
    pub async fn find_restored(&self) -> Result<Restored, HotError> {
        let done: Option<String> = self
            .call(async |connection| {
                redis::cmd("HGET")
                    .arg(self.keys.ledger())
                    .arg("messages.restored")
                    .query_async(connection)
                    .await
            })
            .await?;
        Ok(match done {
            Some(done) if done == DONE => Restored::Done,
            done => Restored::UpTo(done.unwrap_or_default()),
        })
    }

    /// Makes one page of copies again, with the places in their inboxes; a copy that is there stays
    /// as it is. False if another worker was faster, or the epoch is over: nothing was done then.
    pub async fn restore_copies(
        &self,
        epoch: &str,
        from: &Restored,
        to: &Restored,
        messages: &[LiveMessage],
    ) -> Result<bool, HotError> {
        let keys = &self.keys;
        let mut call = RESTORE.prepare_invoke();
        call.key(keys.epoch()).key(keys.ledger()).key(keys.taken());
        call.arg(epoch).arg(from.as_str()).arg(to.as_str());
        for message in messages {
            let key = keys.message(message.id);
            match &message.username {
                Some(username) => call.key(&key).key(keys.inbox(username)),
                None => call.key(&key).key(&key),
            };
            let ttl_ms = message.remaining.as_millis().max(1);
            call.arg(message.id.to_string()).arg(&message.json).arg(ttl_ms);
        }
        let applied: u8 = self.call(async |connection| call.invoke_async(connection).await).await?;
        Ok(applied == 1)
    }
}
