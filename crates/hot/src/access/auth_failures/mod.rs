//! Failed authentications: a rate limit per client that is exact across all processes.

use std::time::Duration;

use mayfly_runtime::settings::Rate;

use crate::connection::{HotError, HotStore, millis, script};

script!(COUNT, include_str!("../../write/rate_limit.lua"), include_str!("count_failure.lua"));

/// The kind of the rate limit windows.
const KIND: &str = "auth_failures";

/// The state of a client's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureWindow {
    /// Whether the failure exceeded the limit. For [`AuthFailures::read`], whether the next failure
    /// would exceed the limit.
    pub is_exceeded: bool,
    /// The time until the window ends.
    pub resets_in: Duration,
}

/// Operations on failed authentications.
#[derive(Clone, Copy)]
pub struct AuthFailures<'a> {
    store: &'a HotStore,
}

impl HotStore {
    /// Returns the operations on failed authentications.
    #[must_use]
    pub fn auth_failures(&self) -> AuthFailures<'_> {
        AuthFailures { store: self }
    }
}

impl AuthFailures<'_> {
    /// Counts a failed authentication of a client, unless it exceeds the limit. The window begins
    /// with the first failure. Returns `None` if the Redis key of the window cannot be read. O(1).
    pub async fn count(self, client: &str, rate: Rate) -> Result<Option<FailureWindow>, HotError> {
        self.call(client, rate, 1).await
    }

    /// Returns the state of a client's limit without counting. Returns `None` if the Redis key of
    /// the window cannot be read. O(1).
    pub async fn read(self, client: &str, rate: Rate) -> Result<Option<FailureWindow>, HotError> {
        self.call(client, rate, 0).await
    }

    async fn call(
        self,
        client: &str,
        rate: Rate,
        failures: u8,
    ) -> Result<Option<FailureWindow>, HotError> {
        let key = self.store.keys.rate(KIND, rate.window.as_secs(), client);
        let mut call = COUNT.prepare_invoke();
        call.key(&key).arg(rate.items).arg(millis(rate.window)).arg(failures);
        let reply: Result<(bool, u64), _> =
            self.store.call(async |connection| call.invoke_async(connection).await).await;
        let reply = self.store.skip_unreadable(&key, reply)?;
        Ok(reply.map(|(is_exceeded, resets_in_ms)| FailureWindow {
            is_exceeded,
            resets_in: Duration::from_millis(resets_in_ms),
        }))
    }
}
