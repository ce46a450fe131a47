//! Inboxes. An inbox contains the live messages of one username, which can be listed or taken.

use deadpool_redis::redis;
use mayfly_core::{
    MessageId,
    limits::{MESSAGE_BYTES_MAX, PAGE_BYTES_MAX},
};
use tokio::time::Instant;

use crate::{
    connection::{HotError, HotStore, script},
    messages::{
        InboxSlot,
        expire::{ExpireOutcome, ExpireStep, ReplayedTake},
    },
    write::{IdempotentRequest, Origin},
};

script!(FIND_IDS, include_str!("find_inbox_ids.lua"));

/// A page of an inbox.
#[derive(Debug, Clone, Default)]
pub struct InboxPage {
    /// Messages as JSON, oldest first.
    pub messages: Vec<Vec<u8>>,
    /// Whether more live messages follow. Also true if a take cannot determine this.
    pub has_more: bool,
}

/// The outcome of a take.
#[derive(Debug)]
pub enum TakeOutcome {
    /// These messages were taken.
    Taken(InboxPage),
    /// The same take was executed before, with this outcome. Nothing more was taken.
    Replayed(ReplayedTake),
    /// A different take was executed under the same idempotency key. Nothing was taken.
    KeyReused,
}

/// The maximum number of copies that a listing fetches in one round trip.
const LIST_IDS_MAX: usize = 64;
/// The minimum number of IDs in one step of a take, if that many are left. A step can have more IDs
/// than the limit of the take, because some of the messages may not be live.
const TAKE_IDS_MIN: usize = 64;
/// The maximum number of copies that one `EXISTS` command checks. The first command checks at most
/// [`LIST_IDS_MAX`] copies.
const EXISTENCE_IDS_MAX: usize = 1_000;
/// The free space in a response that a take needs to continue, in bytes. Every message fits into
/// this space.
const MESSAGE_SPACE_BYTES: usize = 2 * MESSAGE_BYTES_MAX;

/// Operations on inboxes.
#[derive(Clone, Copy)]
pub struct Inbox<'a> {
    store: &'a HotStore,
    /// The time when the request was submitted. `None` if it did not have to wait.
    submitted_at: Option<Instant>,
}

impl HotStore {
    /// Returns the operations on inboxes.
    #[must_use]
    pub fn inbox(&self) -> Inbox<'_> {
        Inbox { store: self, submitted_at: None }
    }
}

impl Inbox<'_> {
    /// Uses a slot. The wait for the slot counts toward the queue timeout.
    #[must_use]
    pub fn in_slot(self, slot: &InboxSlot<'_>) -> Self {
        Self { submitted_at: Some(slot.submitted_at), ..self }
    }

    /// Returns at most `limit` of the oldest messages in an inbox without expiring them. Their
    /// total size is at most [`PAGE_BYTES_MAX`].
    pub async fn list(self, username: &str, limit: usize) -> Result<InboxPage, HotError> {
        let ids = self.find_ids(username).await?;
        let mut page = InboxPage::default();
        let mut bytes = 0;
        for chunk in ids.chunks(LIST_IDS_MAX) {
            for json in self.find_copies(chunk).await?.into_iter().flatten() {
                bytes += json.len();
                let is_full = bytes > PAGE_BYTES_MAX && !page.messages.is_empty();
                if is_full || page.messages.len() == limit {
                    page.has_more = true;
                    return Ok(page);
                }
                page.messages.push(json);
            }
        }
        Ok(page)
    }

    /// Takes at most `limit` of the oldest messages in an inbox. Each message is read and expired
    /// in one atomic step, so no two takes return the same message.
    ///
    /// If a step fails after earlier steps have taken messages, these messages are returned. They
    /// are also returned if half of `redis.timeout` has passed, because the outcome of another step
    /// might arrive too late. A take with an idempotency key ends with the first step that expires
    /// messages, so that the stored outcome of this step is the outcome of the take.
    pub async fn take(
        self,
        username: &str,
        limit: usize,
        origin: &Origin,
        idempotency: Option<&IdempotentRequest>,
    ) -> Result<TakeOutcome, HotError> {
        let started = Instant::now();
        let ids = self.find_ids(username).await?;
        let mut page = InboxPage::default();
        let (mut bytes, mut next) = (0, 0);
        // With an idempotency key, at least one step runs, because a replay must be detected even
        // if the inbox is empty.
        while next < ids.len() || (next == 0 && idempotency.is_some()) {
            if !page.messages.is_empty() && started.elapsed() > self.store.timeout / 2 {
                return Ok(TakeOutcome::Taken(InboxPage { has_more: true, ..page }));
            }
            let messages_max = limit - page.messages.len();
            let until = ids.len().min(next + messages_max.max(TAKE_IDS_MIN));
            let step = ExpireStep {
                ids: &ids[next..until],
                inbox: self.store.keys.inbox(username),
                bytes_max: PAGE_BYTES_MAX - bytes,
                messages_max,
                known: None,
                idempotency,
                has_more_ids: until < ids.len(),
            };
            let expired = match self.store.messages().expire(step, origin).await {
                Ok(ExpireOutcome::Expired(expired)) => expired,
                Ok(ExpireOutcome::Replayed(replayed)) => {
                    return Ok(TakeOutcome::Replayed(replayed));
                }
                Ok(ExpireOutcome::KeyReused) => return Ok(TakeOutcome::KeyReused),
                Err(error) if page.messages.is_empty() => return Err(error),
                Err(_) => return Ok(TakeOutcome::Taken(InboxPage { has_more: true, ..page })),
            };
            bytes += expired.messages.iter().map(Vec::len).sum::<usize>();
            page.messages.extend(expired.messages);
            next = until.max(1);
            if expired.has_more == Some(true) {
                return Ok(TakeOutcome::Taken(InboxPage { has_more: true, ..page }));
            }
            if idempotency.is_some() && !page.messages.is_empty() {
                page.has_more = next < ids.len();
                return Ok(TakeOutcome::Taken(page));
            }
            if page.messages.len() == limit || bytes + MESSAGE_SPACE_BYTES > PAGE_BYTES_MAX {
                break;
            }
        }
        page.has_more = self.is_any_live(ids.get(next..).unwrap_or_default()).await.unwrap_or(true);
        Ok(TakeOutcome::Taken(page))
    }

    /// Returns the unexpired IDs in an inbox, oldest first. Some of the messages may have been
    /// taken or deleted.
    async fn find_ids(self, username: &str) -> Result<Vec<MessageId>, HotError> {
        let mut call = FIND_IDS.prepare_invoke();
        call.key(self.store.keys.inbox(username));
        let submitted_at = self.submitted_at.unwrap_or_else(Instant::now);
        let members: Vec<String> = self
            .store
            .call_since(submitted_at, async |connection| call.invoke_async(connection).await)
            .await?;
        let mut ids: Vec<MessageId> =
            members.iter().filter_map(|member| member.parse().ok()).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    async fn find_copies(self, ids: &[MessageId]) -> Result<Vec<Option<Vec<u8>>>, HotError> {
        let mut command = redis::cmd("MGET");
        for id in ids {
            command.arg(self.store.keys.message(*id));
        }
        self.store.call(async |connection| command.query_async(connection).await).await
    }

    /// Returns whether any of these messages is live. Checks a few messages first, because usually
    /// at least one of them is live.
    async fn is_any_live(self, ids: &[MessageId]) -> Result<bool, HotError> {
        let (first, rest) = ids.split_at(ids.len().min(LIST_IDS_MAX));
        for chunk in first.chunks(LIST_IDS_MAX).chain(rest.chunks(EXISTENCE_IDS_MAX)) {
            let mut command = redis::cmd("EXISTS");
            for id in chunk {
                command.arg(self.store.keys.message(*id));
            }
            let live: u64 =
                self.store.call(async |connection| command.query_async(connection).await).await?;
            if live > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
