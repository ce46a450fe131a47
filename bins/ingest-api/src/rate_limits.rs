//! Rate limits that are checked before a request is parsed.

use mayfly_hot::{ExhaustedClients, RateLimitStatus};
use mayfly_http::{Problem, RateLimit};
use mayfly_runtime::settings::Rate;

use crate::client_identity::ClientIdentity;

/// The limit of items of one kind per client.
pub struct RateLimits {
    /// `messages`, `plays` or `visits`.
    kind: &'static str,
    rate: Option<Rate>,
    /// Shared by all threads.
    clients: ExhaustedClients,
}

impl RateLimits {
    /// Creates the limit; `None` means no limit.
    pub fn new(kind: &'static str, rate: Option<Rate>, clients: ExhaustedClients) -> Self {
        Self { kind, rate, clients }
    }

    /// Returns the number of items per window, if it is limited.
    pub fn rate(&self) -> Option<Rate> {
        self.rate
    }

    /// Rejects a request with at least `items` items if it is known to be beyond the limit of its
    /// client.
    pub fn check(&self, client: &ClientIdentity, items: usize) -> Result<(), Problem> {
        let Some(limit) = client.limit(self.rate) else { return Ok(()) };
        match self.clients.find_rejection(&limit, items, client.has_key()) {
            Some(status) => Err(to_rate_limit(self.kind, status).to_problem(items)),
            None => Ok(()),
        }
    }
}

/// Returns the state of a limit as clients see it.
pub fn to_rate_limit(kind: &'static str, status: RateLimitStatus) -> RateLimit {
    let RateLimitStatus { rate, remaining, resets_in } = status;
    RateLimit { policy: kind, rate, remaining, resets_in }
}
