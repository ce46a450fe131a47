//! The ledger in Redis: the current epoch and, for each stream, the number of items accepted in the
//! epoch. A new epoch begins after Redis has lost data.

use std::collections::HashMap;

use deadpool_redis::redis::{self, Value};
use mayfly_core::{Clock, EntryId};
use uuid::{NoContext, Uuid};

use crate::{
    connection::{HotError, HotStore, script},
    queue::{Queue, Stream},
};

script!(BEGIN_EPOCH, include_str!("begin_epoch.lua"));

/// The ledger of a stream in the current epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamLedger {
    /// The name of the epoch.
    pub epoch: String,
    /// The number of items accepted in the epoch.
    pub accepted: u64,
    /// The ID of the newest entry that was appended to the stream, if there is one.
    pub newest: Option<String>,
}

/// Operations on the ledger.
#[derive(Clone, Copy)]
pub struct Ledger<'a> {
    pub(super) store: &'a HotStore,
}

impl HotStore {
    /// Returns the operations on the ledger.
    #[must_use]
    pub fn ledger(&self) -> Ledger<'_> {
        Ledger { store: self }
    }

    /// Returns a name for a new epoch: a UUIDv7 with a timestamp from this process's estimate of
    /// the Redis clock, so that message IDs smaller than the name are older than the epoch.
    pub(crate) fn new_epoch(&self) -> String {
        let millis = u64::try_from(self.clock.now().as_millis()).unwrap_or(0);
        let (seconds, nanos) = (millis / 1_000, (millis % 1_000) as u32 * 1_000_000);
        let timestamp = uuid::Timestamp::from_unix(NoContext, seconds, nanos);
        Uuid::new_v7(timestamp).simple().to_string()
    }
}

impl Ledger<'_> {
    /// Begins an epoch if there is none, and returns the ledger of a stream.
    pub async fn find_or_begin(self, stream: Stream) -> Result<StreamLedger, HotError> {
        if let Some(ledger) = self.find(stream).await? {
            return Ok(ledger);
        }
        let epoch = self.begin_epoch("").await?;
        Ok(StreamLedger { epoch, accepted: 0, newest: None })
    }

    /// Returns the ledger of a stream, or `None` if no epoch has begun. The reads do not form a
    /// transaction, because a full Redis would reject a transaction. If a new epoch begins after
    /// `epoch` is read and before `accepted` is read, `epoch` is the previous epoch, but `accepted`
    /// is the number for the new epoch.
    pub async fn find(self, stream: Stream) -> Result<Option<StreamLedger>, HotError> {
        let keys = &self.store.keys;
        let (epoch, accepted, newest): (Option<String>, Option<u64>, Option<String>) = self
            .store
            .call(async |connection| {
                redis::pipe()
                    .get(keys.epoch())
                    .hget(keys.ledger(), stream.ledger_field("accepted"))
                    .hget(keys.ledger(), stream.ledger_field("last"))
                    .query_async(connection)
                    .await
            })
            .await?;
        Ok(epoch.map(|epoch| StreamLedger { epoch, accepted: accepted.unwrap_or(0), newest }))
    }

    /// Returns whether Redis has lost the entry `entry_id`, which was once the newest entry of the
    /// stream. The entry is lost if it is missing, an older entry exists, and neither the missing
    /// entry nor a newer entry was deleted by hand. Trimming would have removed the older entry
    /// first. O(log n) for n entries.
    pub async fn is_entry_lost(self, stream: Stream, entry_id: &str) -> Result<bool, HotError> {
        let queue = self.store.queue();
        if !queue.read_range::<Value>(stream, entry_id, entry_id, 1).await?.is_empty() {
            return Ok(false);
        }
        let before = format!("({entry_id}");
        let is_trimmed = queue.read_range::<Value>(stream, "-", &before, 1).await?.is_empty();
        Ok(!is_trimmed && queue.find_last_deleted(stream).await? < entry_id.parse().ok())
    }

    /// Ends the epoch `previous` and begins the next epoch, unless another process has already done
    /// so. Call this after Redis has lost data, or with an empty `previous` if there is no epoch.
    /// Returns the current epoch.
    pub async fn begin_epoch(self, previous: &str) -> Result<String, HotError> {
        let keys = &self.store.keys;
        let mut call = BEGIN_EPOCH.prepare_invoke();
        call.key(keys.epoch()).key(keys.ledger()).arg(previous).arg(self.store.new_epoch());
        self.store.call(async |connection| call.invoke_async(connection).await).await
    }
}

impl Queue<'_> {
    /// Returns the greatest ID of the entries that have been deleted from a stream by hand. Returns
    /// [`EntryId::START`] if no entry has been deleted, and `None` if the stream does not exist. A
    /// trimmed entry does not count as deleted. O(1).
    pub(crate) async fn find_last_deleted(
        self,
        stream: Stream,
    ) -> Result<Option<EntryId>, HotError> {
        let info = self
            .store
            .call(async |connection| {
                redis::cmd("XINFO")
                    .arg("STREAM")
                    .arg(self.store.keys.stream(stream))
                    .query_async::<HashMap<String, Value>>(connection)
                    .await
            })
            .await;
        match info {
            Ok(info) => Ok(match info.get("max-deleted-entry-id") {
                Some(Value::BulkString(id)) => {
                    str::from_utf8(id).ok().and_then(|id| id.parse().ok())
                }
                Some(Value::SimpleString(id)) => id.parse().ok(),
                _ => None,
            }),
            Err(error) if error.is_missing_key() => Ok(None),
            Err(error) => Err(error),
        }
    }
}
