//! Queries for messages and inboxes, takes, and deletions. A message is looked up in Redis first,
//! then among the stored messages and the dead letters in Postgres.

pub mod rights;

use std::collections::HashMap;

use mayfly_auth::Identity;
use mayfly_cold::{ColdStore, Page, PageRequest, ReadRights};
use mayfly_core::{MessageId, Username, message::MessageView};
use mayfly_hot::{
    HotStore, IdempotentRequest, InboxPage, InboxSlots, MessageFinder, Origin, ReplayedTake,
    TakeOutcome,
};
use mayfly_http::{Caller, CallerIdentity, IdempotencyKey, Problem};
use mayfly_runtime::Settings;

pub use self::rights::MessageRights;
use self::rights::{ReadablePart, find_readable_part};
use crate::problems::key_reused;

/// Queries for messages and inboxes, takes, and deletions. Each HTTP thread has its own instance.
pub struct MessageQueries {
    hot: HotStore,
    finder: MessageFinder,
    cold: ColdStore,
    inbox_slots: InboxSlots,
    /// The public URL of this service. If it is empty, links are relative.
    list_url: String,
}

/// A message with the store that contained it.
enum Found {
    /// The message is live, and Redis contains its hot copy.
    Live(Vec<u8>),
    /// The message has expired and has not been stored in Postgres with its expiry time yet.
    Expired(Vec<u8>),
    /// The message is stored in Postgres. It can be live if Redis lost its data after the write.
    Stored(Vec<u8>),
}

impl Found {
    fn into_json(self) -> Vec<u8> {
        match self {
            Self::Live(json) | Self::Expired(json) | Self::Stored(json) => json,
        }
    }
}

/// The result of a take.
pub struct Taken {
    /// The taken messages.
    pub inbox: InboxPage,
    /// Whether an earlier request with the same idempotency key took the messages.
    pub is_replayed: bool,
}

impl MessageQueries {
    /// Creates the queries.
    pub fn new(
        hot: HotStore,
        cold: ColdStore,
        settings: &Settings,
        inbox_slots: InboxSlots,
    ) -> Self {
        Self {
            finder: MessageFinder::start(&hot),
            hot,
            cold,
            inbox_slots,
            list_url: settings.public.list_url.clone(),
        }
    }

    /// Returns the public URL for a path on this service.
    pub fn public_url(&self, path: &str) -> String {
        format!("{}{path}", self.list_url)
    }

    /// Finds a live or expired message by ID, if the caller has the right to it.
    pub async fn find_message(
        &self,
        id: MessageId,
        rights: MessageRights<'_>,
    ) -> Result<Option<Vec<u8>>, Problem> {
        Ok(self.find(id, rights).await?.map(Found::into_json))
    }

    /// Finds a message, if the caller has the right to it.
    async fn find(
        &self,
        id: MessageId,
        rights: MessageRights<'_>,
    ) -> Result<Option<Found>, Problem> {
        if rights.is_all() || self.is_included(id, rights).await? {
            self.find_any(id).await
        } else {
            Ok(None)
        }
    }

    /// Returns whether a message exists and the caller has the right to it.
    ///
    /// A message without the right is ignored wherever it is found, and the search continues. The
    /// search reads only the names that the right depends on. Its duration therefore reveals
    /// neither whether the message exists nor its size.
    async fn is_included(&self, id: MessageId, rights: MessageRights<'_>) -> Result<bool, Problem> {
        let start = self.finder.find_start(id).await?;
        if start.is_some_and(|json| rights.include_start(&json)) {
            return Ok(true);
        }
        let names = self.cold.messages().find_names(id).await?;
        if names.is_some_and(|(channel, username)| rights.include(&channel, username.as_deref())) {
            return Ok(true);
        }
        let dead = self.cold.dead_letters().find_message(id).await?;
        Ok(dead.is_some_and(|json| rights.include_start(&json)))
    }

    /// Finds a message in Redis, then among the stored messages, then among the dead letters.
    async fn find_any(&self, id: MessageId) -> Result<Option<Found>, Problem> {
        if let Some(json) = self.finder.find_copy(id).await? {
            return Ok(Some(Found::Live(json)));
        }
        if let Some(json) = self.finder.find_without_copy(id).await? {
            return Ok(Some(Found::Expired(json)));
        }
        if let Some(stored) = self.cold.messages().find(id).await? {
            return Ok(Some(Found::Stored(stored.json)));
        }
        let dead = self.cold.dead_letters().find_message(id).await?;
        Ok(dead.map(Found::Stored))
    }

    /// Expires a message immediately and returns whether the message exists and the caller has the
    /// right to it. Does not change a message that has already expired.
    pub async fn delete_message(
        &self,
        id: MessageId,
        rights: MessageRights<'_>,
        caller: &Caller,
    ) -> Result<bool, Problem> {
        match self.find(id, rights).await? {
            None => return Ok(false),
            Some(Found::Expired(_)) => {}
            Some(Found::Live(json)) => {
                self.expire(id, find_username(&json).as_deref(), None, caller).await?;
            }
            Some(Found::Stored(json)) => {
                self.expire(id, find_username(&json).as_deref(), Some(&json), caller).await?;
            }
        }
        Ok(true)
    }

    async fn expire(
        &self,
        id: MessageId,
        username: Option<&str>,
        json: Option<&[u8]>,
        caller: &Caller,
    ) -> Result<(), Problem> {
        // The deletion has no effect if the message was taken in the meantime or has expired.
        self.hot.messages().delete(id, username, json, &origin(caller)).await?;
        Ok(())
    }

    /// Lists one page of the stored messages that the caller may read.
    pub async fn list_messages(
        &self,
        request: &PageRequest,
        identity: &Identity,
    ) -> Result<Page, Problem> {
        let messages = self.cold.messages();
        let names = match find_readable_part(identity, request)? {
            ReadablePart::All => return Ok(messages.list_page(request).await?),
            ReadablePart::Some(names) => names,
        };
        let readable = identity.readable_messages();
        let is_readable =
            |channel: &str, username: Option<&str>| readable.matches(channel, username);
        let rights = ReadRights { names, is_readable: &is_readable };
        Ok(messages.list_readable_page(request, &rights).await?)
    }

    /// Lists up to `limit` messages in an inbox.
    pub async fn list_inbox(&self, username: &Username, limit: u32) -> Result<InboxPage, Problem> {
        let slot = self.inbox_slots.acquire().await?;
        Ok(self.hot.inbox().in_slot(&slot).list(username.as_str(), limit as usize).await?)
    }

    /// Takes up to `limit` messages from an inbox. With an idempotency key, the caller can safely
    /// retry the take.
    pub async fn take_inbox(
        &self,
        username: &Username,
        limit: u32,
        key: IdempotencyKey,
        caller: &Caller,
        identity: &CallerIdentity,
    ) -> Result<Taken, Problem> {
        let (origin, name) = (origin(caller), username.as_str());
        let payload: [&[u8]; 2] = [name.as_bytes(), &limit.to_be_bytes()];
        let request = key.0.map(|key| {
            IdempotentRequest::new("take", identity.client(&caller.client), key, &payload)
        });
        let slot = self.inbox_slots.acquire().await?;
        let inbox = self.hot.inbox().in_slot(&slot);
        match inbox.take(name, limit as usize, &origin, request.as_ref()).await? {
            TakeOutcome::Taken(inbox) => Ok(Taken { inbox, is_replayed: false }),
            TakeOutcome::Replayed(ReplayedTake { ids, has_more }) => {
                let messages = self.find_messages(&ids).await?;
                Ok(Taken { inbox: InboxPage { messages, has_more }, is_replayed: true })
            }
            TakeOutcome::KeyReused => Err(key_reused()),
        }
    }

    /// Finds messages and returns them in the order of `ids`. Omits messages that do not exist.
    /// Reads Redis with one command, then Postgres with one query, and looks up the remaining
    /// messages individually.
    async fn find_messages(&self, ids: &[MessageId]) -> Result<Vec<Vec<u8>>, Problem> {
        let hot = self.hot.messages().find_expired(ids).await?;
        let mut found: HashMap<_, _> =
            ids.iter().copied().zip(hot).filter_map(|(id, json)| Some((id, json?))).collect();
        let missing: Vec<_> = ids.iter().copied().filter(|id| !found.contains_key(id)).collect();
        if !missing.is_empty() {
            let stored = self.cold.messages().find_many(&missing).await?;
            found.extend(stored.into_iter().map(|stored| (stored.id, stored.json)));
        }
        let mut messages = Vec::with_capacity(ids.len());
        for id in ids {
            match found.remove(id) {
                Some(json) => messages.push(json),
                None => messages.extend(self.find_message(*id, MessageRights::All).await?),
            }
        }
        Ok(messages)
    }
}

/// Returns the username of a message, if it has one. Returns `None` for invalid JSON.
fn find_username(json: &[u8]) -> Option<String> {
    MessageView::from_json(json).ok()?.username
}

fn origin(caller: &Caller) -> Origin {
    Origin::new(caller.request_id.as_str(), caller.traceparent.as_str())
}
