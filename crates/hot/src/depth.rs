//! How long a queue is, and how old.

use std::collections::HashMap;

use deadpool_redis::redis::{self, Value};
use mayfly_core::{EntryId, Timestamp};

use crate::{delivery::instant_of, error::HotError, pool::Hot, stream::Stream};

/// Entries of one page, where Redis does not know how many there are.
const PAGE_ENTRIES: usize = 1_000;

/// What waits in a queue.
#[derive(Debug, Clone, Copy, Default)]
pub struct Depth {
    /// Entries that wait for a worker or for its acknowledgement.
    pub waiting: u64,
    /// Those of them that a worker has.
    pub pending: u64,
    /// Since when the oldest of them waits.
    pub oldest: Option<Timestamp>,
}

impl Hot {
    /// How many entries a stream has, with those that are kept for who resumes.
    pub async fn stream_length(&self, stream: Stream) -> Result<u64, HotError> {
        self.call(async |connection| {
            redis::cmd("XLEN").arg(stream.key(&self.keys)).query_async(connection).await
        })
        .await
    }

    /// How much waits in a queue, and since when.
    pub async fn queue_depth(&self, stream: Stream) -> Result<Depth, HotError> {
        let Some(group) = self.group(stream).await? else { return Ok(Depth::default()) };
        let lag = match group.lag {
            Some(lag) => lag,
            None => self.count_lag(stream, &group.last_delivered).await?,
        };
        let oldest = if group.pending > 0 {
            self.first_pending(stream).await?.map(|id| instant_of(&id))
        } else if lag > 0 {
            self.first_after(stream, &group.last_delivered).await?
        } else {
            None
        };
        Ok(Depth { waiting: lag + group.pending, pending: group.pending, oldest })
    }

    /// The entry that was delivered last; none where there is no group.
    pub(crate) async fn last_delivered(&self, stream: Stream) -> Result<Option<String>, HotError> {
        Ok(self.group(stream).await?.map(|group| group.last_delivered))
    }

    /// Up to where every entry that was ever delivered is acknowledged; none where there is no group.
    pub async fn settled_up_to(&self, stream: Stream) -> Result<Option<EntryId>, HotError> {
        let Some(group) = self.group(stream).await? else { return Ok(None) };
        let Ok(delivered) = group.last_delivered.parse::<EntryId>() else { return Ok(None) };
        if group.pending == 0 {
            return Ok(Some(delivered));
        }
        // What is delivered since the first look is pending behind what was delivered then.
        let pending = self.first_pending(stream).await?;
        let before = pending.and_then(|id| id.parse::<EntryId>().ok()).map(EntryId::before);
        Ok(Some(before.map_or(delivered, |before| before.min(delivered))))
    }

    async fn group(&self, stream: Stream) -> Result<Option<Group>, HotError> {
        let answer: Result<Vec<HashMap<String, Value>>, HotError> = self
            .call(async |connection| {
                redis::cmd("XINFO")
                    .arg("GROUPS")
                    .arg(stream.key(&self.keys))
                    .query_async(connection)
                    .await
            })
            .await;
        let groups = match answer {
            // No such key: nothing was ever accepted.
            Err(HotError::Refused(error)) if error.to_string().contains("no such key") => {
                return Ok(None);
            }
            other => other?,
        };
        Ok(groups.iter().find_map(|fields| Group::of(stream, fields)))
    }

    async fn first_pending(&self, stream: Stream) -> Result<Option<String>, HotError> {
        let rows: Vec<(String, String, u64, u64)> = self
            .call(async |connection| {
                redis::cmd("XPENDING")
                    .arg(stream.key(&self.keys))
                    .arg(stream.group())
                    .arg("-")
                    .arg("+")
                    .arg(1)
                    .query_async(connection)
                    .await
            })
            .await?;
        Ok(rows.into_iter().next().map(|(id, ..)| id))
    }

    async fn first_after(
        &self,
        stream: Stream,
        entry_id: &str,
    ) -> Result<Option<Timestamp>, HotError> {
        let rows = self.entries_after(stream, entry_id, 1).await?;
        Ok(rows.first().map(|(id, _)| instant_of(id)))
    }

    /// Counts what lies behind an entry, page by page, where Redis does not know: an entry was
    /// deleted by hand.
    async fn count_lag(&self, stream: Stream, entry_id: &str) -> Result<u64, HotError> {
        let (mut counted, mut from) = (0, entry_id.to_owned());
        loop {
            let rows = self.entries_after(stream, &from, PAGE_ENTRIES).await?;
            counted += rows.len() as u64;
            match rows.into_iter().nth(PAGE_ENTRIES - 1) {
                Some((last, _)) => from = last,
                None => return Ok(counted),
            }
        }
    }

    async fn entries_after(
        &self,
        stream: Stream,
        entry_id: &str,
        count: usize,
    ) -> Result<Vec<(String, Value)>, HotError> {
        self.call(async |connection| {
            redis::cmd("XRANGE")
                .arg(stream.key(&self.keys))
                .arg(format!("({entry_id}"))
                .arg("+")
                .arg("COUNT")
                .arg(count)
                .query_async(connection)
                .await
        })
        .await
    }
}

/// What Redis says of the group of a stream.
struct Group {
    pending: u64,
    lag: Option<u64>,
    last_delivered: String,
}

impl Group {
    fn of(stream: Stream, fields: &HashMap<String, Value>) -> Option<Self> {
        let text = |name: &str| match fields.get(name) {
            Some(Value::BulkString(text)) => String::from_utf8(text.clone()).ok(),
            Some(Value::SimpleString(text)) => Some(text.clone()),
            _ => None,
        };
        let number = |name: &str| match fields.get(name) {
            Some(Value::Int(number)) => u64::try_from(*number).ok(),
            _ => None,
        };
        (text("name").as_deref() == Some(stream.group())).then(|| Self {
            pending: number("pending").unwrap_or(0),
            lag: number("lag"),
            last_delivered: text("last-delivered-id").unwrap_or_else(|| "0-0".into()),
        })
    }
}
