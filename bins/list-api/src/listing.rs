//! What the handlers need: both stores, the clock, and the order in which they are asked.

use std::collections::HashMap;

use mayfly_cold::{Cold, Page, PageRequest};
use mayfly_core::{Clock, MessageId, SystemClock, Username, message::MessageView};
use mayfly_hot::{Finder, Hot, Inbox, Once, Origin, Take, TakenBefore};
use mayfly_http::{Caller, IdempotencyKey, Problem};
use mayfly_runtime::Settings;

use crate::problems::{key_reused, of_cold, of_hot};

/// What the handlers of one thread need.
pub struct Listing {
    hot: Hot,
    finder: Finder,
    cold: Cold,
    clock: Box<dyn Clock>,
    /// What links start with; empty where callers see one origin.
    list_url: String,
}

fn origin(caller: &Caller) -> Origin {
    Origin::new(caller.request_id.as_str(), caller.traceparent.as_str())
}

/// What a take gave.
pub struct Taken {
    /// The messages.
    pub inbox: Inbox,
    /// Whether they had been taken before, by the same request.
    pub is_replayed: bool,
}

impl Listing {
    /// The service's state between the two stores.
    pub fn new(hot: Hot, cold: Cold, settings: &Settings) -> Self {
        Self {
            finder: Finder::open(&hot),
            hot,
            cold,
            clock: Box::new(SystemClock),
            list_url: settings.public.list_url.clone(),
        }
    }

    /// The public place of a path of this service.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.list_url)
    }

    /// Finds a message, live or expired: in Redis, else in Postgres, else among its dead letters.
    pub async fn find_message(&self, id: MessageId) -> Result<Option<Vec<u8>>, Problem> {
        if let Some(json) = self.finder.find_message(id).await.map_err(|error| of_hot(&error))? {
            return Ok(Some(json));
        }
        if let Some(stored) = self.cold.find_message(id).await.map_err(|error| of_cold(&error))? {
            return Ok(Some(stored.json));
        }
        self.cold.find_dead_message(id).await.map_err(|error| of_cold(&error))
    }

    /// Expires a message now; false if there is none. One that is expired stays as it is.
    pub async fn delete_message(&self, id: MessageId, caller: &Caller) -> Result<bool, Problem> {
        let copy = self.finder.find_copy(id).await.map_err(|error| of_hot(&error))?;
        if let Some(json) = copy {
            let username = MessageView::from_json(&json).ok().and_then(|message| message.username);
            self.expire(id, username.as_deref(), None, caller).await?;
            return Ok(true);
        }
        if self.finder.find_message(id).await.map_err(|error| of_hot(&error))?.is_some() {
            return Ok(true);
        }
        // Redis does not know it. Live nevertheless: Redis lost its data since it was accepted.
        match self.cold.find_message(id).await.map_err(|error| of_cold(&error))? {
            Some(stored) if stored.expires_at > self.clock.now() => {
                self.expire(id, stored.username.as_deref(), Some(&stored.json), caller).await?;
                Ok(true)
            }
            Some(_) => Ok(true),
            None => {
                let dead = self.cold.find_dead_message(id).await;
                dead.map(|dead| dead.is_some()).map_err(|error| of_cold(&error))
            }
        }
    }

    async fn expire(
        &self,
        id: MessageId,
        username: Option<&str>,
        known: Option<&[u8]>,
        caller: &Caller,
    ) -> Result<(), Problem> {
        let at = self.clock.now();
        let expired = self.hot.delete_message(id, username, known, at, &origin(caller)).await;
        // Nothing to expire: somebody took it since we looked.
        expired.map(|_| ()).map_err(|error| of_hot(&error))
    }

    /// Lists one page of everything that was ever stored.
    pub async fn list_messages(&self, request: &PageRequest) -> Result<Page, Problem> {
        self.cold.list_messages(request).await.map_err(|error| of_cold(&error))
    }

    /// Looks at an inbox.
    pub async fn list_inbox(&self, username: &Username, limit: u32) -> Result<Inbox, Problem> {
        let inbox = self.hot.list_inbox(username.as_str(), limit as usize).await;
        inbox.map_err(|error| of_hot(&error))
    }

    /// Takes an inbox; under a key, its caller may ask again.
    pub async fn take_inbox(
        &self,
        username: &Username,
        limit: u32,
        key: IdempotencyKey,
        caller: &Caller,
    ) -> Result<Taken, Problem> {
        let (at, origin, name) = (self.clock.now(), origin(caller), username.as_str());
        let sent: [&[u8]; 2] = [name.as_bytes(), &limit.to_be_bytes()];
        let once = key.0.map(|key| Once::new("take", caller.client.to_string(), key, &sent));
        let take = self.hot.take_inbox(name, limit as usize, at, &origin, once.as_ref()).await;
        match take.map_err(|error| of_hot(&error))? {
            Take::Taken(inbox) => Ok(Taken { inbox, is_replayed: false }),
            Take::TakenBefore(TakenBefore { ids, has_more }) => {
                let messages = self.find_messages(&ids).await?;
                Ok(Taken { inbox: Inbox { messages, has_more }, is_replayed: true })
            }
            Take::KeyReused => Err(key_reused()),
        }
    }

    /// Finds messages in the order of their ids, without those that went with the retention: what is
    /// stored in one call, the others where they are.
    async fn find_messages(&self, ids: &[MessageId]) -> Result<Vec<Vec<u8>>, Problem> {
        let hot = self.hot.find_taken(ids).await.map_err(|error| of_hot(&error))?;
        let mut found: HashMap<_, _> =
            ids.iter().copied().zip(hot).filter_map(|(id, json)| Some((id, json?))).collect();
        let missing: Vec<_> = ids.iter().copied().filter(|id| !found.contains_key(id)).collect();
        if !missing.is_empty() {
            let stored =
                self.cold.find_messages(&missing).await.map_err(|error| of_cold(&error))?;
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
