//! Early expiry of messages by a take or a deletion.

use deadpool_redis::redis::{self, Value};
use mayfly_core::{Feed, MessageId, limits};

use crate::{
    connection::{HotError, millis, script, unexpected_reply},
    messages::Messages,
    metrics as names,
    write::{IdempotentRequest, Origin, StoredOutcome},
};

script!(EXPIRE, include_str!("expire_messages.lua"));

/// The outcome of an [`ExpireStep`].
pub(crate) enum ExpireOutcome {
    /// The step was executed.
    Expired(ExpiredMessages),
    /// The same step was executed before, with this outcome.
    Replayed(ReplayedTake),
    /// A different step was executed under the same idempotency key.
    KeyReused,
}

/// The messages that a step expired.
#[derive(Debug, Default)]
pub(crate) struct ExpiredMessages {
    /// The messages as JSON, with the new `expires_at`.
    pub messages: Vec<Vec<u8>>,
    /// Whether live messages remain among the IDs of the step. `None` if the step processed all of
    /// its IDs.
    pub has_more: Option<bool>,
}

/// The stored outcome of a take that was executed before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayedTake {
    /// The IDs of the messages, in the order of the response.
    pub ids: Vec<MessageId>,
    /// Whether more live messages may have remained in the inbox.
    pub has_more: bool,
}

impl ReplayedTake {
    fn parse(stored: &[u8]) -> Option<Self> {
        let StoredOutcome { summary, ids } = StoredOutcome::parse(stored)?;
        let has_more = match summary {
            "more" => true,
            "all" => false,
            _ => return None,
        };
        Some(Self { ids, has_more })
    }
}

/// Messages to be expired in one atomic step.
pub(crate) struct ExpireStep<'a> {
    pub ids: &'a [MessageId],
    /// The key of the inbox that contains the messages.
    pub inbox: String,
    /// The maximum total size of the expired messages, in bytes. The first message may be larger.
    pub bytes_max: usize,
    pub messages_max: usize,
    /// The JSON of the only message, if it was found in the cold store.
    pub known: Option<&'a [u8]>,
    pub idempotency: Option<&'a IdempotentRequest>,
    /// Whether the inbox has more IDs after `ids`.
    pub has_more_ids: bool,
}

impl Messages<'_> {
    /// Expires one message if the message is live according to the clock of Redis. `known` is the
    /// JSON of the message if it was found in the cold store. Returns whether the message was live.
    pub async fn delete(
        self,
        id: MessageId,
        username: Option<&str>,
        known: Option<&[u8]>,
        origin: &Origin,
    ) -> Result<bool, HotError> {
        let step = ExpireStep {
            ids: &[id],
            // Without a username, this key does not exist, because no username is empty.
            inbox: self.store.keys.inbox(username.unwrap_or_default()),
            bytes_max: limits::PAGE_BYTES_MAX,
            messages_max: 1,
            known,
            idempotency: None,
            has_more_ids: false,
        };
        let outcome = self.expire(step, origin).await?;
        Ok(matches!(outcome, ExpireOutcome::Expired(expired) if !expired.messages.is_empty()))
    }

    /// Returns, for each ID, the JSON of the message if it was taken or deleted and Postgres has
    /// not stored the new expiry time yet.
    pub async fn find_expired(self, ids: &[MessageId]) -> Result<Vec<Option<Vec<u8>>>, HotError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("HMGET");
        command.arg(self.store.keys.taken());
        for id in ids {
            command.arg(id.to_string());
        }
        self.store.call(async |connection| command.query_async(connection).await).await
    }

    /// Runs `expire_messages.lua` for one step.
    pub(crate) async fn expire(
        self,
        step: ExpireStep<'_>,
        origin: &Origin,
    ) -> Result<ExpireOutcome, HotError> {
        let keys = &self.store.keys;
        let mut call = EXPIRE.prepare_invoke();
        call.key(keys.messages()).key(keys.epoch()).key(keys.ledger()).key(keys.taken());
        call.key(step.inbox).arg(self.store.new_epoch()).arg(keys.feed(Feed::Messages));
        call.arg(origin.as_str())
            .arg(step.bytes_max)
            .arg(step.messages_max)
            .arg(step.known.unwrap_or_default());
        match step.idempotency {
            Some(request) => call.key(request.key(keys)).arg(request.fingerprint()),
            None => call.arg(""),
        };
        call.arg(millis(limits::TAKE_IDEMPOTENCY_TTL)).arg(u8::from(step.has_more_ids));
        for id in step.ids {
            call.key(keys.message(*id)).arg(id.to_string());
        }
        let reply: Vec<Value> =
            self.store.call(async |connection| call.invoke_async(connection).await).await?;
        parse_reply(reply)
    }
}

fn parse_reply(reply: Vec<Value>) -> Result<ExpireOutcome, HotError> {
    let mut reply = reply.into_iter();
    if reply.next() == Some(Value::Int(1)) {
        metrics::counter!(names::PUBLISH_FAILURES_TOTAL).increment(1);
    }
    let outcome = reply.next();
    let mut texts = reply.filter_map(|value| match value {
        Value::BulkString(text) => Some(text),
        _ => None,
    });
    let expired = |texts, has_more| {
        ExpireOutcome::Expired(ExpiredMessages { messages: Iterator::collect(texts), has_more })
    };
    match outcome {
        Some(Value::Int(0)) => Ok(expired(texts, None)),
        Some(Value::Int(1)) => Ok(expired(texts, Some(false))),
        Some(Value::Int(2)) => Ok(expired(texts, Some(true))),
        Some(Value::Int(3)) => {
            let replayed = texts.next().and_then(|stored| ReplayedTake::parse(&stored));
            replayed.map(ExpireOutcome::Replayed).ok_or_else(unknown_outcome)
        }
        Some(Value::Int(4)) => Ok(ExpireOutcome::KeyReused),
        _ => Err(unknown_outcome()),
    }
}

/// Returns the error for an outcome with an unknown format, which another version may have stored.
fn unknown_outcome() -> HotError {
    HotError::Rejected(unexpected_reply("unknown outcome of expire_messages"))
}
