//! The ledger's side in Redis: the present epoch, what was accepted in it, what is still queued.

use std::sync::LazyLock;

use deadpool_redis::redis::{self, Script};
use mayfly_core::{MessageId, entry};
use uuid::Uuid;

use crate::{error::HotError, pool::Hot, queue::GROUP};

static BEGIN_EPOCH: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/begin_epoch.lua")));

/// A name for an epoch that may begin.
pub(crate) fn new_epoch() -> String {
    Uuid::now_v7().simple().to_string()
}

/// What Redis knows of the present epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// The name of the epoch.
    pub epoch: String,
    /// Messages accepted in it.
    pub accepted: u64,
    /// The newest entry of the stream, if there is one.
    pub newest: Option<String>,
}

/// What is queued, as one look shows it.
#[derive(Debug, Clone, Default)]
pub struct QueueState {
    /// Messages of the present epoch that no worker has.
    pub undelivered: u64,
    /// Messages of the present epoch that a worker has and has not acknowledged.
    pub pending: Vec<MessageId>,
    /// Messages of earlier epochs that are still queued.
    pub earlier: u64,
}

/// Entries read in one round trip while the queue is counted.
const COUNT_ENTRIES_MAX: usize = 1_000;

type Fields = Vec<(String, Vec<u8>)>;

impl Hot {
    /// What Redis knows of the present epoch; begins one if it knows none.
    pub async fn ledger(&self) -> Result<Ledger, HotError> {
        if let Some(ledger) = self.find_ledger().await? {
            return Ok(ledger);
        }
        let epoch = self.begin_epoch("").await?;
        Ok(Ledger { epoch, accepted: 0, newest: None })
    }

    /// What Redis knows of the present epoch, if one has begun. No transaction, which a full Redis
    /// would refuse: if an epoch begins in between, the number is that of the new one, and smaller.
    pub async fn find_ledger(&self) -> Result<Option<Ledger>, HotError> {
        let keys = &self.keys;
        let (epoch, accepted, newest): (Option<String>, Option<u64>, Option<String>) = self
            .call(async |connection| {
                redis::pipe()
                    .get(keys.epoch())
                    .hget(keys.ledger(), "messages.accepted")
                    .hget(keys.ledger(), "messages.last")
                    .query_async(connection)
                    .await
            })
            .await?;
        Ok(epoch.map(|epoch| Ledger { epoch, accepted: accepted.unwrap_or(0), newest }))
    }

    /// Whether Redis came back without an entry that once was the newest: it is gone, and older
    /// ones are there, which a trim would have taken before it.
    pub async fn is_entry_lost(&self, entry_id: &str) -> Result<bool, HotError> {
        let is_there = !self.entries(entry_id, entry_id, 1).await?.is_empty();
        Ok(!is_there && !self.entries("-", &format!("({entry_id}"), 1).await?.is_empty())
    }

    /// How many messages of an epoch stand in the stream behind an entry.
    pub async fn count_behind(&self, epoch: &str, entry_id: &str) -> Result<u64, HotError> {
        let state = self.count_from(epoch, format!("({entry_id}"), QueueState::default()).await?;
        Ok(state.undelivered)
    }

    /// Ends an epoch, because Redis lost something of it, and begins the next; gives the present
    /// one, which another process may have begun.
    pub async fn begin_epoch(&self, over: &str) -> Result<String, HotError> {
        let mut call = BEGIN_EPOCH.prepare_invoke();
        call.key(self.keys.epoch()).key(self.keys.ledger()).arg(over).arg(new_epoch());
        self.call(async |connection| call.invoke_async(connection).await).await
    }

    /// Reads through what is queued and counts the messages. Costs what the queue holds: for an
    /// operator who asks, not for a request.
    pub async fn count_queue(&self, epoch: &str) -> Result<QueueState, HotError> {
        let mut state = QueueState::default();
        let Some(delivered) = self.last_delivered().await? else {
            return self.count_from(epoch, "-".into(), state).await;
        };
        for id in self.pending_entries().await? {
            for (_, fields) in self.entries(&id, &id, 1).await? {
                match message_of(&fields) {
                    Some((of, message)) if of == epoch => state.pending.push(message),
                    Some(_) => state.earlier += 1,
                    None => {}
                }
            }
        }
        self.count_from(epoch, format!("({delivered}"), state).await
    }

    async fn count_from(
        &self,
        epoch: &str,
        mut from: String,
        mut state: QueueState,
    ) -> Result<QueueState, HotError> {
        loop {
            let entries = self.entries(&from, "+", COUNT_ENTRIES_MAX).await?;
            let Some((last, _)) = entries.last() else {
                return Ok(state);
            };
            from = format!("({last}");
            for (_, fields) in &entries {
                match message_of(fields) {
                    Some((of, _)) if of == epoch => state.undelivered += 1,
                    Some(_) => state.earlier += 1,
                    None => {}
                }
            }
        }
    }

    async fn entries(
        &self,
        from: &str,
        to: &str,
        count: usize,
    ) -> Result<Vec<(String, Fields)>, HotError> {
        self.call(async |connection| {
            redis::cmd("XRANGE")
                .arg(self.keys.messages())
                .arg(from)
                .arg(to)
                .arg("COUNT")
                .arg(count)
                .query_async(connection)
                .await
        })
        .await
    }

    async fn pending_entries(&self) -> Result<Vec<String>, HotError> {
        let mut ids = Vec::new();
        let mut from = "-".to_owned();
        loop {
            let rows: Vec<(String, String, u64, u64)> = self
                .call(async |connection| {
                    redis::cmd("XPENDING")
                        .arg(self.keys.messages())
                        .arg(GROUP)
                        .arg(&from)
                        .arg("+")
                        .arg(COUNT_ENTRIES_MAX)
                        .query_async(connection)
                        .await
                })
                .await?;
            let Some((last, ..)) = rows.last() else {
                return Ok(ids);
            };
            from = format!("({last}");
            ids.extend(rows.into_iter().map(|(id, ..)| id));
        }
    }
}

/// The epoch and the id of a message's entry; nothing for an entry of another kind.
fn message_of(fields: &Fields) -> Option<(String, MessageId)> {
    let field = |wanted: &str| {
        fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_slice())
    };
    let json = field(entry::MESSAGE_V1)?;
    let meta = entry::Meta::parse(&String::from_utf8_lossy(field(entry::META)?));
    let view = mayfly_core::message::MessageView::from_json(json).ok()?;
    Some((meta.epoch, view.id))
}
