//! The depth of a queue and the age of its oldest entry.

use std::collections::HashMap;

use deadpool_redis::redis::{self, Value};
use mayfly_core::{EntryId, Timestamp};

use crate::{
    connection::HotError,
    queue::{Queue, Stream, delivery::arrival_time, entries::PAGE_ENTRIES},
};

/// The unacknowledged entries of a queue.
#[derive(Debug, Clone, Copy, Default)]
pub struct QueueDepth {
    /// Entries that are not acknowledged, delivered or not.
    pub waiting: u64,
    /// Entries that are delivered and not acknowledged.
    pub pending: u64,
    /// The time of arrival of the oldest unacknowledged entry.
    pub oldest: Option<Timestamp>,
}

impl Queue<'_> {
    /// Returns the number of entries in a stream, including acknowledged ones that are kept for
    /// resuming subscribers.
    pub async fn length(self, stream: Stream) -> Result<u64, HotError> {
        self.store
            .call(async |connection| {
                redis::cmd("XLEN").arg(self.store.keys.stream(stream)).query_async(connection).await
            })
            .await
    }

    /// Returns the depth of a queue. O(1), unless an entry was deleted by hand: then O(n) for n
    /// undelivered entries.
    pub async fn depth(self, stream: Stream) -> Result<QueueDepth, HotError> {
        let Some(group) = self.find_group(stream).await? else { return Ok(QueueDepth::default()) };
        let lag = match group.lag {
            Some(lag) => lag,
            None => self.count_lag(stream, &group.last_delivered).await?,
        };
        let oldest = if group.pending > 0 {
            self.find_first_pending(stream).await?.map(|id| arrival_time(&id))
        } else if lag > 0 {
            self.find_first_arrival(stream, &group.last_delivered).await?
        } else {
            None
        };
        Ok(QueueDepth { waiting: lag + group.pending, pending: group.pending, oldest })
    }

    /// Returns the last delivered entry; `None` if there is no consumer group.
    pub(crate) async fn find_last_delivered(
        self,
        stream: Stream,
    ) -> Result<Option<String>, HotError> {
        Ok(self.find_group(stream).await?.map(|group| group.last_delivered))
    }

    /// Returns the entry up to which all entries are acknowledged; `None` if there is no consumer
    /// group.
    pub async fn find_acked_up_to(self, stream: Stream) -> Result<Option<EntryId>, HotError> {
        let Some(group) = self.find_group(stream).await? else { return Ok(None) };
        let Ok(delivered) = group.last_delivered.parse::<EntryId>() else { return Ok(None) };
        if group.pending == 0 {
            return Ok(Some(delivered));
        }
        // Entries that were delivered after the first read are pending after `delivered`.
        let pending = self.find_first_pending(stream).await?;
        let before = pending.and_then(|id| id.parse::<EntryId>().ok()).map(EntryId::predecessor);
        Ok(Some(before.map_or(delivered, |before| before.min(delivered))))
    }

    async fn find_group(self, stream: Stream) -> Result<Option<Group>, HotError> {
        let reply: Result<Vec<HashMap<String, Value>>, HotError> = self
            .store
            .call(async |connection| {
                redis::cmd("XINFO")
                    .arg("GROUPS")
                    .arg(self.store.keys.stream(stream))
                    .query_async(connection)
                    .await
            })
            .await;
        match reply {
            Ok(groups) => Ok(groups.iter().find_map(|fields| Group::parse(stream, fields))),
            // Nothing was accepted yet.
            Err(error) if error.is_missing_key() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn find_first_pending(self, stream: Stream) -> Result<Option<String>, HotError> {
        Ok(self.read_pending(stream, "-", 1).await?.into_iter().next())
    }

    async fn find_first_arrival(
        self,
        stream: Stream,
        after: &str,
    ) -> Result<Option<Timestamp>, HotError> {
        let entries = self.read_after(stream, after, 1).await?;
        Ok(entries.first().map(|(id, _)| arrival_time(id)))
    }

    /// Counts the entries after `entry_id` page by page. Redis does not know the lag of a group if
    /// an undelivered entry was deleted.
    async fn count_lag(self, stream: Stream, entry_id: &str) -> Result<u64, HotError> {
        let (mut count, mut from) = (0, entry_id.to_owned());
        loop {
            let entries = self.read_after(stream, &from, PAGE_ENTRIES).await?;
            count += entries.len() as u64;
            match entries.into_iter().nth(PAGE_ENTRIES - 1) {
                Some((last, _)) => from = last,
                None => return Ok(count),
            }
        }
    }

    async fn read_after(
        self,
        stream: Stream,
        entry_id: &str,
        count: usize,
    ) -> Result<Vec<(String, Value)>, HotError> {
        self.read_range(stream, &format!("({entry_id}"), "+", count).await
    }
}

/// A consumer group as `XINFO GROUPS` describes it.
struct Group {
    pending: u64,
    lag: Option<u64>,
    last_delivered: String,
}

impl Group {
    /// Returns `None` if this is not the group of the workers.
    fn parse(stream: Stream, fields: &HashMap<String, Value>) -> Option<Self> {
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
