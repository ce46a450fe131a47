//! The inbox: the live messages of one username. Looked at, or taken.

use deadpool_redis::redis;
use mayfly_core::{
    MessageId, Timestamp,
    limits::{MESSAGE_BYTES_MAX, PAGE_BYTES_MAX},
};

use crate::{
    error::HotError,
    expire::{ExpireStep, Expired, Origin, TakenBefore},
    once::Once,
    pool::Hot,
};

/// What an inbox gave.
#[derive(Debug, Clone, Default)]
pub struct Inbox {
    /// Messages as JSON, oldest first.
    pub messages: Vec<Vec<u8>>,
    /// Whether more live messages lie behind them.
    pub has_more: bool,
}

/// What became of a take.
#[derive(Debug)]
pub enum Take {
    /// It was done now.
    Taken(Inbox),
    /// It was done before, with this outcome: nothing was taken now.
    TakenBefore(TakenBefore),
    /// Another take was done under its key: nothing was taken.
    KeyReused,
}

/// Copies fetched in one round trip while an inbox is looked at.
const LOOK_IDS_MAX: usize = 64;
/// Ids that a take looks at in one step at least: some may be expired.
const TAKE_IDS_MIN: usize = 64;
/// A take goes on while this many bytes are left of its answer: any message fits into them.
const ROOM_FOR_ONE_BYTES: usize = 2 * MESSAGE_BYTES_MAX;

impl Hot {
    /// Looks at the oldest `limit` messages of an inbox and leaves it as it is.
    pub async fn list_inbox(&self, username: &str, limit: usize) -> Result<Inbox, HotError> {
        let ids = self.inbox_ids(username).await?;
        let mut inbox = Inbox::default();
        let mut bytes = 0;
        for chunk in ids.chunks(LOOK_IDS_MAX) {
            for json in self.copies(chunk).await?.into_iter().flatten() {
                bytes += json.len();
                let full = bytes > PAGE_BYTES_MAX && !inbox.messages.is_empty();
                if full || inbox.messages.len() == limit {
                    inbox.has_more = true;
                    return Ok(inbox);
                }
                inbox.messages.push(json);
            }
        }
        Ok(inbox)
    }

    /// Takes the oldest `limit` messages of an inbox: what is returned is expired in the same
    /// step, and goes to exactly one caller.
    ///
    /// Who is there first has a message; whoever comes second finds its copy gone and goes on to
    /// the next. If Redis goes away in the middle, what was taken until then is the answer. A take
    /// that may be asked for again ends with the first step that takes something, so that what is
    /// kept of that step is all of it.
    pub async fn take_inbox(
        &self,
        username: &str,
        limit: usize,
        at: Timestamp,
        origin: &Origin,
        once: Option<&Once>,
    ) -> Result<Take, HotError> {
        let ids = self.inbox_ids(username).await?;
        let mut taken = Inbox::default();
        let (mut bytes, mut next) = (0, 0);
        // A take that was done before is to be found also where nothing is left.
        while next < ids.len() || (next == 0 && once.is_some()) {
            let messages_max = limit - taken.messages.len();
            let until = ids.len().min(next + messages_max.max(TAKE_IDS_MIN));
            let step = ExpireStep {
                ids: &ids[next..until],
                inbox: self.keys.inbox(username),
                at,
                bytes_max: PAGE_BYTES_MAX - bytes,
                messages_max,
                known: None,
                once,
                more_ids_behind: until < ids.len(),
            };
            let expired = match self.expire(step, origin).await {
                Ok(Expired::Now(expired)) => expired,
                Ok(Expired::Before(before)) => return Ok(Take::TakenBefore(before)),
                Ok(Expired::KeyReused) => return Ok(Take::KeyReused),
                Err(error) if taken.messages.is_empty() => return Err(error),
                Err(_) => return Ok(Take::Taken(Inbox { has_more: true, ..taken })),
            };
            bytes += expired.messages.iter().map(Vec::len).sum::<usize>();
            taken.messages.extend(expired.messages);
            next = until.max(1);
            if expired.ended == Some(true) {
                return Ok(Take::Taken(Inbox { has_more: true, ..taken }));
            }
            if once.is_some() && !taken.messages.is_empty() {
                taken.has_more = next < ids.len();
                return Ok(Take::Taken(taken));
            }
            if taken.messages.len() == limit || bytes + ROOM_FOR_ONE_BYTES > PAGE_BYTES_MAX {
                break;
            }
        }
        taken.has_more = self.any_copy(ids.get(next..).unwrap_or_default()).await.unwrap_or(true);
        Ok(Take::Taken(taken))
    }

    /// The JSON of messages that were taken or deleted, as far as Postgres does not show it yet.
    pub async fn find_taken(&self, ids: &[MessageId]) -> Result<Vec<Option<Vec<u8>>>, HotError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("HMGET");
        command.arg(self.keys.taken());
        for id in ids {
            command.arg(id.to_string());
        }
        self.call(async |connection| command.query_async(connection).await).await
    }

    /// All ids of an inbox in their own order, which is that of acceptance; some may be expired.
    async fn inbox_ids(&self, username: &str) -> Result<Vec<MessageId>, HotError> {
        let names: Vec<String> = self
            .call(async |connection| {
                redis::cmd("ZRANGE")
                    .arg(self.keys.inbox(username))
                    .arg(0)
                    .arg(-1)
                    .query_async(connection)
                    .await
            })
            .await?;
        let mut ids: Vec<MessageId> = names.iter().filter_map(|name| name.parse().ok()).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    async fn copies(&self, ids: &[MessageId]) -> Result<Vec<Option<Vec<u8>>>, HotError> {
        let mut command = redis::cmd("MGET");
        for id in ids {
            command.arg(self.keys.message(*id));
        }
        self.call(async |connection| command.query_async(connection).await).await
    }

    /// Whether any of these messages is live.
    async fn any_copy(&self, ids: &[MessageId]) -> Result<bool, HotError> {
        if ids.is_empty() {
            return Ok(false);
        }
        let mut command = redis::cmd("EXISTS");
        for id in ids {
            command.arg(self.keys.message(*id));
        }
        let live: u64 = self.call(async |connection| command.query_async(connection).await).await?;
        Ok(live > 0)
    }
}
