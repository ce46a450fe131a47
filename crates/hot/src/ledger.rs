//! The ledger's side in Redis: the present epoch, what was accepted in it, what is still queued.

use std::sync::LazyLock;

use deadpool_redis::redis::{self, Script};
use mayfly_core::{entry, message::MessageView, play::PlaysView};
use uuid::Uuid;

use crate::{error::HotError, pool::Hot, stream::Stream};

static BEGIN_EPOCH: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/begin_epoch.lua")));

/// A name for an epoch that may begin.
pub(crate) fn new_epoch() -> String {
    Uuid::now_v7().simple().to_string()
}

/// What Redis knows of a stream in the present epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// The name of the epoch.
    pub epoch: String,
    /// Items accepted in it.
    pub accepted: u64,
    /// The newest entry of the stream, if there is one.
    pub newest: Option<String>,
}

/// What is queued in a stream, as one look shows it.
#[derive(Debug, Clone, Default)]
pub struct QueueState {
    /// Items of the present epoch that no worker has.
    pub undelivered: u64,
    /// What of the present epoch a worker has and has not acknowledged.
    pub pending: Vec<Pending>,
    /// Items of earlier epochs that are still queued.
    pub earlier: u64,
}

/// An entry that a worker has and has not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The id that it carries itself: that of a message, or of plays.
    pub id: Uuid,
    /// How many items it brings.
    pub items: u64,
}

/// Entries read in one round trip while the queue is counted.
const COUNT_ENTRIES_MAX: usize = 1_000;

type Fields = Vec<(String, Vec<u8>)>;

impl Hot {
    /// What Redis knows of a stream in the present epoch; begins one if it knows none.
    pub async fn ledger(&self, stream: Stream) -> Result<Ledger, HotError> {
        if let Some(ledger) = self.find_ledger(stream).await? {
            return Ok(ledger);
        }
        let epoch = self.begin_epoch("").await?;
        Ok(Ledger { epoch, accepted: 0, newest: None })
    }

    /// What Redis knows of a stream in the present epoch, if one has begun. No transaction, which a full Redis
    /// would refuse: if an epoch begins in between, the number is that of the new one, and smaller.
    pub async fn find_ledger(&self, stream: Stream) -> Result<Option<Ledger>, HotError> {
        let keys = &self.keys;
        let (epoch, accepted, newest): (Option<String>, Option<u64>, Option<String>) = self
            .call(async |connection| {
                redis::pipe()
                    .get(keys.epoch())
                    .hget(keys.ledger(), stream.field("accepted"))
                    .hget(keys.ledger(), stream.field("last"))
                    .query_async(connection)
                    .await
            })
            .await?;
        Ok(epoch.map(|epoch| Ledger { epoch, accepted: accepted.unwrap_or(0), newest }))
    }

    /// Whether Redis came back without an entry that once was the newest: it is gone, and older
    /// ones are there, which a trim would have taken before it.
    pub async fn is_entry_lost(&self, stream: Stream, entry_id: &str) -> Result<bool, HotError> {
        let is_there = !self.entries(stream, entry_id, entry_id, 1).await?.is_empty();
        let before = format!("({entry_id}");
        Ok(!is_there && !self.entries(stream, "-", &before, 1).await?.is_empty())
    }

    /// How many items of an epoch stand in a stream behind an entry.
    pub async fn count_behind(
        &self,
        stream: Stream,
        epoch: &str,
        entry_id: &str,
    ) -> Result<u64, HotError> {
        let from = format!("({entry_id}");
        let state = self.count_from(stream, epoch, from, QueueState::default()).await?;
        Ok(state.undelivered)
    }

    /// Ends an epoch, because Redis lost something of it, and begins the next; gives the present
    /// one, which another process may have begun.
    pub async fn begin_epoch(&self, over: &str) -> Result<String, HotError> {
        let mut call = BEGIN_EPOCH.prepare_invoke();
        call.key(self.keys.epoch()).key(self.keys.ledger()).arg(over).arg(new_epoch());
        self.call(async |connection| call.invoke_async(connection).await).await
    }

    /// Reads through what is queued and counts the items. Costs what the queue holds: for an
    /// operator who asks, not for a request.
    pub async fn count_queue(&self, stream: Stream, epoch: &str) -> Result<QueueState, HotError> {
        let mut state = QueueState::default();
        let Some(delivered) = self.last_delivered(stream).await? else {
            return self.count_from(stream, epoch, "-".into(), state).await;
        };
        for entry_id in self.pending_entries(stream).await? {
            for (_, fields) in self.entries(stream, &entry_id, &entry_id, 1).await? {
                match Brought::read(stream, &fields) {
                    Some(Brought { epoch: of, id, items }) if of == epoch => {
                        state.pending.push(Pending { id, items });
                    }
                    Some(brought) => state.earlier += brought.items,
                    None => {}
                }
            }
        }
        self.count_from(stream, epoch, format!("({delivered}"), state).await
    }

    async fn count_from(
        &self,
        stream: Stream,
        epoch: &str,
        mut from: String,
        mut state: QueueState,
    ) -> Result<QueueState, HotError> {
        loop {
            let entries = self.entries(stream, &from, "+", COUNT_ENTRIES_MAX).await?;
            let Some((last, _)) = entries.last() else {
                return Ok(state);
            };
            from = format!("({last}");
            for (_, fields) in &entries {
                match Brought::read(stream, fields) {
                    Some(brought) if brought.epoch == epoch => state.undelivered += brought.items,
                    Some(brought) => state.earlier += brought.items,
                    None => {}
                }
            }
        }
    }

    async fn entries(
        &self,
        stream: Stream,
        from: &str,
        to: &str,
        count: usize,
    ) -> Result<Vec<(String, Fields)>, HotError> {
        self.call(async |connection| {
            redis::cmd("XRANGE")
                .arg(stream.key(&self.keys))
                .arg(from)
                .arg(to)
                .arg("COUNT")
                .arg(count)
                .query_async(connection)
                .await
        })
        .await
    }

    async fn pending_entries(&self, stream: Stream) -> Result<Vec<String>, HotError> {
        let mut ids = Vec::new();
        let mut from = "-".to_owned();
        loop {
            let rows: Vec<(String, String, u64, u64)> = self
                .call(async |connection| {
                    redis::cmd("XPENDING")
                        .arg(stream.key(&self.keys))
                        .arg(stream.group())
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

/// What an entry brings.
struct Brought {
    epoch: String,
    id: Uuid,
    items: u64,
}

impl Brought {
    /// Reads an entry; nothing if it brings none of the items of its stream.
    fn read(stream: Stream, fields: &Fields) -> Option<Self> {
        let field = |wanted: &str| {
            fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_slice())
        };
        let (id, items) = match stream {
            Stream::Messages => {
                (MessageView::from_json(field(entry::MESSAGE_V1)?).ok()?.id.as_uuid(), 1)
            }
            Stream::Plays => {
                let plays = PlaysView::from_json(field(entry::PLAYS_V1)?).ok()?;
                (plays.id, plays.plays.len() as u64)
            }
        };
        let meta = entry::Meta::parse(&String::from_utf8_lossy(field(entry::META)?));
        Some(Self { epoch: meta.epoch, id, items })
    }
}
