//! Reads the depth of a queue, the age of its oldest unacknowledged entry and the progress of its
//! workers.

use std::{collections::HashMap, time::Duration};

use deadpool_redis::redis::{self, ScriptInvocation, Value};
use mayfly_core::{EntryId, Timestamp};

use crate::{
    connection::{HotError, script},
    queue::{Queue, Stream, delivery::arrival_time},
};

script!(
    FIND_DEPTH,
    "#!lua flags=no-writes\n",
    include_str!("groups.lua"),
    include_str!("find_depth.lua"),
);

/// The numbers of unacknowledged entries and of waiting items in a queue, and the age of the oldest
/// unacknowledged entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueDepth {
    /// The number of accepted messages or plays that have not been stored or counted yet.
    /// `queue.depth_max` limits this number.
    pub items: u64,
    /// The number of unacknowledged entries, delivered or not.
    pub waiting: u64,
    /// The number of entries that have been delivered but not acknowledged.
    pub pending: u64,
    /// The time of arrival of the oldest unacknowledged entry, if there is one.
    pub oldest: Option<Timestamp>,
    /// The age of the oldest unacknowledged entry according to the Redis clock, or zero if there is
    /// none.
    pub oldest_age: Duration,
}

impl Queue<'_> {
    /// Returns the number of entries in a stream, including acknowledged entries that have not been
    /// trimmed yet.
    pub async fn length(self, stream: Stream) -> Result<u64, HotError> {
        self.store
            .call(async |connection| {
                redis::cmd("XLEN").arg(self.store.keys.stream(stream)).query_async(connection).await
            })
            .await
    }

    /// Returns the depth of a queue. O(log n + g) for n entries and g consumer groups.
    ///
    /// [`QueueDepth::waiting`] is exact if fewer than 16 entries are undelivered. Otherwise, it is
    /// based on the lag that Redis reports for the workers' group. This lag can be wrong or missing
    /// after undelivered entries have been deleted or trimmed by hand. A missing lag is estimated
    /// from the number of waiting messages or plays. The lag is limited to the length of the
    /// stream.
    pub async fn depth(self, stream: Stream) -> Result<QueueDepth, HotError> {
        let mut call = FIND_DEPTH.prepare_invoke();
        self.add_queue_arguments(&mut call, stream);
        let (undelivered, pending, oldest, age_ms, items): (u64, u64, String, u64, u64) =
            self.store.call(async |connection| call.invoke_async(connection).await).await?;
        Ok(QueueDepth {
            items,
            waiting: undelivered + pending,
            pending,
            oldest: (!oldest.is_empty()).then(|| arrival_time(&oldest)),
            oldest_age: Duration::from_millis(age_ms),
        })
    }

    /// Adds the keys and arguments that scripts use to read a queue: the stream, its group, and the
    /// location of the number of waiting items.
    pub(super) fn add_queue_arguments(self, call: &mut ScriptInvocation<'_>, stream: Stream) {
        let keys = &self.store.keys;
        let (items, field) = match stream {
            Stream::Messages => (keys.waiting(), String::new()),
            Stream::Plays => (keys.ledger(), stream.ledger_field("waiting")),
        };
        call.key(keys.stream(stream)).key(items).arg(stream.group()).arg(field);
    }

    /// Returns the ID of the last delivered entry, or `None` if there is no consumer group.
    pub(crate) async fn find_last_delivered(
        self,
        stream: Stream,
    ) -> Result<Option<String>, HotError> {
        Ok(self.find_group(stream).await?.map(|group| group.last_delivered))
    }

    /// Returns the ID up to which all entries have been acknowledged, or `None` if there is no
    /// consumer group.
    pub async fn find_acked_up_to(self, stream: Stream) -> Result<Option<EntryId>, HotError> {
        let Some(group) = self.find_group(stream).await? else { return Ok(None) };
        let Ok(delivered) = group.last_delivered.parse::<EntryId>() else { return Ok(None) };
        if group.pending == 0 {
            return Ok(Some(delivered));
        }
        // If the first pending entry was delivered after `delivered` was read, the ID of the entry
        // is greater than `delivered`.
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
            // The stream does not exist yet.
            Err(error) if error.is_missing_key() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn find_first_pending(self, stream: Stream) -> Result<Option<String>, HotError> {
        Ok(self.read_pending(stream, "-", 1).await?.into_iter().next())
    }
}

/// The state of a consumer group in the reply to `XINFO GROUPS`.
struct Group {
    pending: u64,
    last_delivered: String,
}

impl Group {
    /// Parses the workers' consumer group. Returns `None` for any other group.
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
            last_delivered: text("last-delivered-id").unwrap_or_else(|| "0-0".into()),
        })
    }
}
