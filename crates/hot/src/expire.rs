//! Expiring messages before their time: a take, or a deletion.

use std::sync::LazyLock;

use deadpool_redis::redis::{Script, Value};
use mayfly_core::{MessageId, Timestamp, entry::Meta, limits};
use mayfly_runtime::metrics as names;

use crate::{error::HotError, ledger::new_epoch, pool::Hot};

static EXPIRE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/expire.lua")));

/// Where a write comes from: the request and its trace, as they travel with the entry.
#[derive(Debug, Clone)]
pub struct Origin(String);

impl Origin {
    /// Of a request.
    #[must_use]
    pub fn new(request_id: &str, traceparent: &str) -> Self {
        Self(Meta::origin(request_id, traceparent))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a step expired.
#[derive(Debug, Clone, Default)]
pub struct Expired {
    /// The messages as they are from now on, JSON with the new `expires_at`.
    pub messages: Vec<Vec<u8>>,
    /// Whether the step ended early because the messages were too many bytes for one answer.
    pub bytes_full: bool,
}

/// What a step is to expire.
pub(crate) struct ExpireStep<'a> {
    pub ids: &'a [MessageId],
    /// The key of the inbox in which they may lie.
    pub inbox: String,
    pub at: Timestamp,
    /// No more than so many bytes of messages; at least one message.
    pub bytes_max: usize,
    /// The only message's JSON, where it is known from the cold store.
    pub known: Option<&'a [u8]>,
}

impl Hot {
    /// Deletes one message; `known` is its JSON if it is not hot but known to be live. Gives
    /// whether there was something to expire.
    pub async fn delete_message(
        &self,
        id: MessageId,
        username: Option<&str>,
        known: Option<&[u8]>,
        at: Timestamp,
        origin: &Origin,
    ) -> Result<bool, HotError> {
        let inbox = match username {
            Some(username) => self.keys.inbox(username),
            // No inbox: taking the id out of the list of copies' own key would be wrong, so name
            // one that cannot exist, since no username is empty.
            None => self.keys.inbox(""),
        };
        let step = ExpireStep { ids: &[id], inbox, at, bytes_max: limits::PAGE_BYTES_MAX, known };
        self.expire(step, origin).await.map(|expired| !expired.messages.is_empty())
    }

    pub(crate) async fn expire(
        &self,
        step: ExpireStep<'_>,
        origin: &Origin,
    ) -> Result<Expired, HotError> {
        let keys = &self.keys;
        let mut call = EXPIRE.prepare_invoke();
        call.key(keys.messages()).key(keys.epoch()).key(keys.ledger()).key(keys.taken());
        call.key(step.inbox).arg(new_epoch()).arg(keys.feed_messages()).arg(origin.as_str());
        call.arg(step.at.as_millis()).arg(step.at.to_string());
        call.arg(step.bytes_max).arg(step.known.unwrap_or_default());
        for id in step.ids {
            call.key(keys.message(*id)).arg(id.to_string());
        }
        let answer: Vec<Value> =
            self.call(async |connection| call.invoke_async(connection).await).await?;
        Ok(read_answer(answer))
    }
}

fn read_answer(answer: Vec<Value>) -> Expired {
    let mut answer = answer.into_iter();
    if answer.next() == Some(Value::Int(1)) {
        metrics::counter!(names::PUBLISH_FAILURES_TOTAL).increment(1);
    }
    let bytes_full = answer.next() == Some(Value::Int(1));
    let messages = answer
        .filter_map(|value| match value {
            Value::BulkString(json) => Some(json),
            _ => None,
        })
        .collect();
    Expired { messages, bytes_full }
}
