//! Expiring messages before their time: a take, or a deletion.

use std::sync::LazyLock;

use deadpool_redis::redis::{Script, Value};
use mayfly_core::{MessageId, Timestamp, entry::Meta, limits};
use mayfly_runtime::metrics as names;

use crate::{
    accept::millis,
    error::{HotError, unexpected_answer},
    ledger::new_epoch,
    once::{Kept, Once},
    pool::Hot,
};

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

/// What became of a step.
pub(crate) enum Expired {
    /// It was done now.
    Now(ExpiredNow),
    /// It was done before, with this outcome.
    Before(TakenBefore),
    /// Another step was done under its key.
    KeyReused,
}

/// What a step expired.
#[derive(Debug, Default)]
pub(crate) struct ExpiredNow {
    /// The messages as they are from now on, JSON with the new `expires_at`.
    pub messages: Vec<Vec<u8>>,
    /// Whether a bound ended the step, and then whether something live is behind.
    pub ended: Option<HasMore>,
}

/// Whether something live is behind.
pub(crate) type HasMore = bool;

/// What a take gave that was done before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenBefore {
    /// The ids of the messages, in their order.
    pub ids: Vec<MessageId>,
    /// Whether more live messages lay behind them.
    pub has_more: bool,
}

impl TakenBefore {
    fn parse(kept: &[u8]) -> Option<Self> {
        let Kept { word, ids } = Kept::parse(kept)?;
        let has_more = match word {
            "more" => true,
            "all" => false,
            _ => return None,
        };
        Some(Self { ids, has_more })
    }
}

/// What a step is to expire.
pub(crate) struct ExpireStep<'a> {
    pub ids: &'a [MessageId],
    /// The key of the inbox in which they may lie.
    pub inbox: String,
    pub at: Timestamp,
    /// No more than so many bytes of messages; at least one message.
    pub bytes_max: usize,
    /// No more than so many messages.
    pub messages_max: usize,
    /// The only message's JSON, where it is known from the cold store.
    pub known: Option<&'a [u8]>,
    /// What the step is known by when it is asked for again.
    pub once: Option<&'a Once>,
    /// Whether more ids lie behind these.
    pub more_ids_behind: bool,
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
        let step = ExpireStep {
            ids: &[id],
            inbox,
            at,
            bytes_max: limits::PAGE_BYTES_MAX,
            messages_max: 1,
            known,
            once: None,
            more_ids_behind: false,
        };
        let expired = self.expire(step, origin).await?;
        Ok(matches!(expired, Expired::Now(now) if !now.messages.is_empty()))
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
        call.arg(step.bytes_max).arg(step.messages_max).arg(step.known.unwrap_or_default());
        match step.once {
            Some(once) => call.key(once.key(keys)).arg(once.fingerprint()),
            None => call.arg(""),
        };
        call.arg(millis(limits::TAKE_REPEATABLE_FOR)).arg(u8::from(step.more_ids_behind));
        for id in step.ids {
            call.key(keys.message(*id)).arg(id.to_string());
        }
        let answer: Vec<Value> =
            self.call(async |connection| call.invoke_async(connection).await).await?;
        read_answer(answer)
    }
}

fn read_answer(answer: Vec<Value>) -> Result<Expired, HotError> {
    let mut answer = answer.into_iter();
    if answer.next() == Some(Value::Int(1)) {
        metrics::counter!(names::PUBLISH_FAILURES_TOTAL).increment(1);
    }
    let outcome = answer.next();
    let mut texts = answer.filter_map(|value| match value {
        Value::BulkString(text) => Some(text),
        _ => None,
    });
    let now = |texts, ended| Expired::Now(ExpiredNow { messages: Iterator::collect(texts), ended });
    match outcome {
        Some(Value::Int(0)) => Ok(now(texts, None)),
        Some(Value::Int(1)) => Ok(now(texts, Some(false))),
        Some(Value::Int(2)) => Ok(now(texts, Some(true))),
        Some(Value::Int(3)) => {
            let before = texts.next().and_then(|kept| TakenBefore::parse(&kept));
            before.map(Expired::Before).ok_or_else(unknown_outcome)
        }
        Some(Value::Int(4)) => Ok(Expired::KeyReused),
        _ => Err(unknown_outcome()),
    }
}

/// Another version of the script, or of what it keeps.
fn unknown_outcome() -> HotError {
    HotError::Refused(unexpected_answer("an unknown outcome"))
}
