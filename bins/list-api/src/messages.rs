//! Queries for messages and inboxes, takes, and deletions. A message is looked up in Redis first,
//! then among the stored messages and the dead letters in Postgres.

use std::collections::HashMap;

use mayfly_cold::{ColdStore, Page, PageRequest};
use mayfly_core::{MessageId, Username, message::MessageView};
use mayfly_hot::{
    HotStore, IdempotentRequest, InboxPage, InboxSlots, MessageFinder, Origin, ReplayedTake,
    TakeOutcome,
};
use mayfly_http::{Caller, IdempotencyKey, Problem};
use mayfly_runtime::Settings;

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

    /// Finds a live or expired message in Redis, then among the stored messages, then among the
    /// dead letters.
    pub async fn find_message(&self, id: MessageId) -> Result<Option<Vec<u8>>, Problem> {
        match self.finder.find_message(id).await? {
            Some(json) => Ok(Some(json)),
            None => self.find_in_postgres(id).await,
        }
    }

    /// Finds a message among the stored messages, then among the dead letters.
    async fn find_in_postgres(&self, id: MessageId) -> Result<Option<Vec<u8>>, Problem> {
        match self.cold.messages().find(id).await? {
            Some(stored) => Ok(Some(stored.json)),
            None => Ok(self.cold.dead_letters().find_message(id).await?),
        }
    }

    /// Expires a message immediately and returns whether the message exists. Does not change a
    /// message that has already expired.
    pub async fn delete_message(&self, id: MessageId, caller: &Caller) -> Result<bool, Problem> {
        if let Some(json) = self.finder.find_copy(id).await? {
            let username = find_username(&json);
            self.expire(id, username.as_deref(), None, caller).await?;
            return Ok(true);
        }
        if self.finder.find_message(id).await?.is_some() {
            return Ok(true);
        }
        // A message can be live without a copy in Redis if Redis lost its data after the write.
        let Some(json) = self.find_in_postgres(id).await? else { return Ok(false) };
        let username = find_username(&json);
        self.expire(id, username.as_deref(), Some(&json), caller).await?;
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

    /// Lists one page of the stored messages.
    pub async fn list_messages(&self, request: &PageRequest) -> Result<Page, Problem> {
        Ok(self.cold.messages().list_page(request).await?)
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
    ) -> Result<Taken, Problem> {
        let (origin, name) = (origin(caller), username.as_str());
        let payload: [&[u8]; 2] = [name.as_bytes(), &limit.to_be_bytes()];
        let client = caller.client.to_string();
        let request = key.0.map(|key| IdempotentRequest::new("take", client, key, &payload));
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
                None => messages.extend(self.find_message(*id).await?),
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
