//! Rate limits that are checked before a request is parsed. The script that writes the items
//! enforces the limits.

use mayfly_auth::{Identity, KeyLimits, RateText};
use mayfly_hot::{ClientLimit, ExhaustedClients, RateLimitStatus};
use mayfly_http::{Problem, RateLimit};
use mayfly_runtime::settings::Rate;

use crate::client_identity::{Client, ClientIdentity};

/// A rate limit for one kind of item. The limit applies to each client separately.
pub struct RateLimits {
    /// `messages`, `plays` or `visits`.
    kind: &'static str,
    /// The configured limit. `None` means no limit.
    rate: Option<Rate>,
    /// Returns the limit of an API key, which replaces the configured limit.
    find_key_rate: fn(&KeyLimits) -> Option<RateText>,
    /// The clients that have used up the limit, shared by all threads.
    clients: ExhaustedClients,
}

impl RateLimits {
    /// Creates a limit. A `rate` of `None` means no limit for clients without an API key.
    pub fn new(
        kind: &'static str,
        rate: Option<Rate>,
        find_key_rate: fn(&KeyLimits) -> Option<RateText>,
        clients: ExhaustedClients,
    ) -> Self {
        Self { kind, rate, find_key_rate, clients }
    }

    /// Returns the limit of a client, or `None` if the client has no limit.
    pub fn find(&self, client: &Client) -> Option<ClientLimit> {
        let rate = self.find_rate(client.identity())?;
        Some(ClientLimit { client: client.id(), rate })
    }

    /// Returns the maximum number of items per window, or `None` if there is no limit. An API key
    /// has only the limits that it was given.
    fn find_rate(&self, identity: &Identity) -> Option<Rate> {
        match identity {
            Identity::Key(key) => {
                let RateText { items, window } = (self.find_key_rate)(&key.limits)?;
                Some(Rate { items, window })
            }
            Identity::Open | Identity::Anonymous(_) | Identity::Token(_) => self.rate,
        }
    }

    /// Rejects a request with at least `items` items if the request is already known to exceed the
    /// limit.
    pub fn check(&self, client: &ClientIdentity, items: usize) -> Result<(), Problem> {
        let Some(limit) = self.find(client.client()) else { return Ok(()) };
        match self.clients.find_rejection(&limit, items, client.has_key()) {
            Some(status) => Err(to_rate_limit(self.kind, status).to_problem(items)),
            None => Ok(()),
        }
    }
}

/// Converts the status of a limit to the values that clients receive.
pub fn to_rate_limit(kind: &'static str, status: RateLimitStatus) -> RateLimit {
    let RateLimitStatus { rate, remaining, resets_in } = status;
    RateLimit { policy: kind, rate, remaining, resets_in }
}
