//! What the handlers need: both stores, the clock, and the order in which they are asked.

use mayfly_cold::{Cold, Page, PageRequest};
use mayfly_core::{Clock, MessageId, SystemClock, Username, message::MessageView};
use mayfly_hot::{Finder, Hot, Inbox, Origin};
use mayfly_http::{Problem, RequestId, Traceparent};
use mayfly_runtime::Settings;

use crate::problems::{of_cold, of_hot};

/// What the handlers of one thread need.
pub struct Listing {
    hot: Hot,
    finder: Finder,
    cold: Cold,
    clock: Box<dyn Clock>,
    /// What links start with; empty where callers see one origin.
    list_url: String,
}

/// Where a request comes from.
pub type Caller = (RequestId, Traceparent);

fn origin(caller: &Caller) -> Origin {
    Origin::new(caller.0.as_str(), caller.1.as_str())
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

    /// Takes an inbox.
    pub async fn take_inbox(
        &self,
        username: &Username,
        limit: u32,
        caller: &Caller,
    ) -> Result<Inbox, Problem> {
        let (at, origin) = (self.clock.now(), origin(caller));
        let taken = self.hot.take_inbox(username.as_str(), limit as usize, at, &origin).await;
        taken.map_err(|error| of_hot(&error))
    }
}
