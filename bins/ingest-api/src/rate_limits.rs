//! Rate limits that are checked before a request is parsed. The script that writes the items
//! enforces the limits.

use mayfly_hot::{ExhaustedClients, RateLimitStatus};
use mayfly_http::{Problem, RateLimit};
use mayfly_runtime::settings::Rate;

use crate::client_identity::ClientIdentity;

/// A rate limit for one kind of item. The limit applies to each client separately.
pub struct RateLimits {
    /// `messages`, `plays` or `visits`.
    kind: &'static str,
    rate: Option<Rate>,
    /// The clients that have used up the limit, shared by all threads.
    clients: ExhaustedClients,
}

impl RateLimits {
    /// Creates a limit. A `rate` of `None` means no limit.
    pub fn new(kind: &'static str, rate: Option<Rate>, clients: ExhaustedClients) -> Self {
        Self { kind, rate, clients }
    }

    /// Returns the maximum number of items per window, or `None` if there is no limit.
    pub fn rate(&self) -> Option<Rate> {
        self.rate
    }

    /// Rejects a request with at least `items` items if the request is already known to exceed the
    /// limit.
    pub fn check(&self, client: &ClientIdentity, items: usize) -> Result<(), Problem> {
        let Some(limit) = client.limit(self.rate) else { return Ok(()) };
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
