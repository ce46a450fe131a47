//! The ledger in Redis: the current epoch and the items accepted in it.

use deadpool_redis::redis::{self, Value};
use uuid::Uuid;

use crate::{
    connection::{HotError, HotStore, script},
    queue::Stream,
};

script!(BEGIN_EPOCH, include_str!("begin_epoch.lua"));

/// Returns a name for a new epoch.
pub(crate) fn new_epoch() -> String {
    Uuid::now_v7().simple().to_string()
}

/// The ledger of a stream in the current epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamLedger {
    /// The name of the epoch.
    pub epoch: String,
    /// The number of items accepted in the epoch.
    pub accepted: u64,
    /// The newest entry of the stream, if there is one.
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
}

impl Ledger<'_> {
    /// Returns the ledger of a stream. Begins an epoch if there is none.
    pub async fn find_or_begin(self, stream: Stream) -> Result<StreamLedger, HotError> {
        if let Some(ledger) = self.find(stream).await? {
            return Ok(ledger);
        }
        let epoch = self.begin_epoch("").await?;
        Ok(StreamLedger { epoch, accepted: 0, newest: None })
    }

    /// Returns the ledger of a stream, if an epoch has begun. Not a transaction, which a full Redis
    /// would reject: if an epoch begins in between, `accepted` is the smaller number of the new
    /// one.
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

    /// Returns whether Redis lost an entry that was once the newest: it is missing while older ones
    /// exist, which trimming would have removed first.
    pub async fn is_entry_lost(self, stream: Stream, entry_id: &str) -> Result<bool, HotError> {
        let queue = self.store.queue();
        let exists = !queue.read_range::<Value>(stream, entry_id, entry_id, 1).await?.is_empty();
        let before = format!("({entry_id}");
        Ok(!exists && !queue.read_range::<Value>(stream, "-", &before, 1).await?.is_empty())
    }

    /// Ends the epoch `previous`, because Redis lost data of it, and begins the next one. Returns
    /// the current epoch, which another process may have begun.
    pub async fn begin_epoch(self, previous: &str) -> Result<String, HotError> {
        let keys = &self.store.keys;
        let mut call = BEGIN_EPOCH.prepare_invoke();
        call.key(keys.epoch()).key(keys.ledger()).arg(previous).arg(new_epoch());
        self.store.call(async |connection| call.invoke_async(connection).await).await
    }
}
