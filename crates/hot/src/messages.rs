//! Finding a message that is hot, taken, or waiting to be stored.

use deadpool_redis::{
    Connection,
    redis::{self, RedisError},
};
use mayfly_core::{MessageId, entry::MESSAGE_V1};

use crate::{
    error::HotError,
    lane::{Lane, Trip},
    pool::Hot,
};

/// Messages looked up in one round trip.
const TRIP_IDS_MAX: usize = 256;
/// Requests that wait for Redis.
const WAITING_MAX: usize = 10_000;

/// Finds messages by id. Cheap to clone.
#[derive(Clone)]
pub struct Finder {
    hot: Hot,
    copies: Lane<CopyTrip>,
}

struct CopyTrip {
    hot: Hot,
}

impl Trip for CopyTrip {
    type Request = MessageId;
    type Answer = Option<Vec<u8>>;

    fn weight(&self, _: &MessageId) -> usize {
        1
    }

    async fn travel(
        &self,
        connection: &mut Connection,
        ids: &[MessageId],
    ) -> Result<Vec<Option<Vec<u8>>>, RedisError> {
        let mut command = redis::cmd("MGET");
        for id in ids {
            command.arg(self.hot.keys.message(*id));
        }
        command.query_async(connection).await
    }
}

impl Finder {
    /// Opens the way to the copies.
    #[must_use]
    pub fn open(hot: &Hot) -> Self {
        let trip = CopyTrip { hot: hot.clone() };
        let copies = Lane::open(hot.clone(), trip, WAITING_MAX, TRIP_IDS_MAX);
        Self { hot: hot.clone(), copies }
    }

    /// The JSON of a live message, from its hot copy.
    pub async fn find_copy(&self, id: MessageId) -> Result<Option<Vec<u8>>, HotError> {
        self.copies.ask(id).await
    }

    /// The JSON of a message that Redis still has to answer for, live or not: its hot copy, else
    /// what a take or a deletion left until Postgres shows it, else its entry in the queue.
    ///
    /// Whoever removes one of these has put the next in place before; asking in this order, and
    /// Postgres last, finds an accepted message at every instant.
    pub async fn find_message(&self, id: MessageId) -> Result<Option<Vec<u8>>, HotError> {
        if let Some(json) = self.find_copy(id).await? {
            return Ok(Some(json));
        }
        let keys = &self.hot.keys;
        let name = id.to_string();
        let (taken, entry): (Option<Vec<u8>>, Option<String>) = self
            .hot
            .call(async |connection| {
                redis::pipe()
                    .hget(keys.taken(), &name)
                    .hget(keys.waiting(), &name)
                    .query_async(connection)
                    .await
            })
            .await?;
        match (taken, entry) {
            (Some(json), _) => Ok(Some(json)),
            (None, Some(entry)) => self.find_entry(&entry).await,
            (None, None) => Ok(None),
        }
    }

    /// The JSON of a message in the stream; none if the entry went meanwhile, stored.
    async fn find_entry(&self, entry: &str) -> Result<Option<Vec<u8>>, HotError> {
        type Fields = Vec<(String, Vec<u8>)>;
        let entries: Vec<(String, Fields)> = self
            .hot
            .call(async |connection| {
                redis::cmd("XRANGE")
                    .arg(self.hot.keys.messages())
                    .arg(entry)
                    .arg(entry)
                    .query_async(connection)
                    .await
            })
            .await?;
        let fields = entries.into_iter().next().map(|(_, fields)| fields).unwrap_or_default();
        Ok(fields.into_iter().find(|(name, _)| name == MESSAGE_V1).map(|(_, json)| json))
    }
}
