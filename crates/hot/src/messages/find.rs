//! Lookup of messages that are live, were expired early, or have not been stored in Postgres yet.

use deadpool_redis::redis::{self, RedisError, aio::MultiplexedConnection};
use mayfly_core::{MessageId, stream::MESSAGE_V1};

use crate::connection::{BatchCommand, BatchLimits, Batcher, HotError, HotStore, script};

script!(FIND_START, include_str!("find_message_start.lua"));

/// The limits of the batcher. Each ID weighs 1.
const LIMITS: BatchLimits =
    BatchLimits { waiting_requests: 10_000, waiting_weight: usize::MAX, batch_weight: 256 };

/// The number of bytes that [`MessageFinder::find_start`] returns. The names at the start of a
/// message are shorter: the ID, the channel and the username.
const START_BYTES: usize = 2 * 1024;

/// A finder that looks up messages by ID in batches. Cheap to clone.
#[derive(Clone)]
pub struct MessageFinder {
    store: HotStore,
    copies: Batcher<MessageId, Option<Vec<u8>>>,
}

struct FindCopies {
    store: HotStore,
}

impl BatchCommand for FindCopies {
    type Request = MessageId;
    type Response = Option<Vec<u8>>;

    async fn execute(
        &self,
        connection: &mut MultiplexedConnection,
        ids: &[MessageId],
    ) -> Result<Vec<Option<Vec<u8>>>, RedisError> {
        let mut command = redis::cmd("MGET");
        for id in ids {
            command.arg(self.store.keys.message(*id));
        }
        command.query_async(connection).await
    }
}

impl MessageFinder {
    /// Starts a finder.
    #[must_use]
    pub fn start(store: &HotStore) -> Self {
        let command = FindCopies { store: store.clone() };
        let copies = Batcher::start(store, command, LIMITS);
        Self { store: store.clone(), copies }
    }

    /// Returns the JSON of a live message from its hot copy; `None` if Redis has no hot copy.
    pub async fn find_copy(&self, id: MessageId) -> Result<Option<Vec<u8>>, HotError> {
        self.copies.submit(id, 1).await
    }

    /// Returns the JSON of a message from the first of these sources that contains the message,
    /// whether it is live or not: the hot copy, the copy that a take or deletion keeps until
    /// Postgres has stored the new expiry time, and the stream entry. Returns `None` if none of
    /// them contains the message.
    ///
    /// A source loses a message only while a later source contains it, or after Postgres has stored
    /// the message. Therefore a caller that calls this method and then reads Postgres finds every
    /// accepted message.
    pub async fn find_message(&self, id: MessageId) -> Result<Option<Vec<u8>>, HotError> {
        match self.find_copy(id).await? {
            Some(json) => Ok(Some(json)),
            None => self.find_without_copy(id).await,
        }
    }

    /// Returns the start of the JSON of a message from the same sources as
    /// [`find_message`](Self::find_message). The start contains the channel and the username. The
    /// duration of the lookup reveals neither whether the message exists nor its size. O(1).
    pub async fn find_start(&self, id: MessageId) -> Result<Option<Vec<u8>>, HotError> {
        let keys = &self.store.keys;
        let mut call = FIND_START.prepare_invoke();
        call.key(keys.message(id)).key(keys.taken()).key(keys.waiting()).key(keys.messages());
        call.arg(id.to_string()).arg(START_BYTES).arg(MESSAGE_V1);
        self.store.call(async |connection| call.invoke_async(connection).await).await
    }

    /// Does the same as [`find_message`](Self::find_message), but without the hot copy.
    pub async fn find_without_copy(&self, id: MessageId) -> Result<Option<Vec<u8>>, HotError> {
        let keys = &self.store.keys;
        let field = id.to_string();
        let (expired, entry): (Option<Vec<u8>>, Option<String>) = self
            .store
            .call(async |connection| {
                redis::pipe()
                    .hget(keys.taken(), &field)
                    .hget(keys.waiting(), &field)
                    .query_async(connection)
                    .await
            })
            .await?;
        match entry {
            Some(entry) if expired.is_none() => self.find_entry(&entry).await,
            _ => Ok(expired),
        }
    }

    /// Returns the JSON of the message in a stream entry; `None` if the entry has been stored in
    /// Postgres and trimmed in the meantime.
    async fn find_entry(&self, entry_id: &str) -> Result<Option<Vec<u8>>, HotError> {
        type Fields = Vec<(String, Vec<u8>)>;
        let entries: Vec<(String, Fields)> = self
            .store
            .call(async |connection| {
                redis::cmd("XRANGE")
                    .arg(self.store.keys.messages())
                    .arg(entry_id)
                    .arg(entry_id)
                    .query_async(connection)
                    .await
            })
            .await?;
        let fields = entries.into_iter().next().map(|(_, fields)| fields).unwrap_or_default();
        Ok(fields.into_iter().find(|(name, _)| name == MESSAGE_V1).map(|(_, json)| json))
    }
}
