//! Clients that exceeded their rate limit. Further requests over the limit are rejected without
//! running the script that accepts items, so that these clients do not slow down others.

use std::{collections::HashMap, sync::Arc, time::Duration};

use deadpool_redis::redis;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{ClientLimit, IdempotentRequest, RateLimitStatus, WriteOutcome};
use crate::connection::{HotError, HotStore};

/// The maximum number of stored clients.
const CLIENTS_MAX: usize = 10_000;
/// The time for which a stored window is trusted. It is short, because a window is reset early if
/// Redis loses its data or an operator deletes the key of the window.
const CONFIRMED_FOR: Duration = Duration::from_secs(1);

/// The clients that exceeded their rate limit for items of one kind. Each client is stored at most
/// until its window ends. Cheap to clone; all clones share the clients.
///
/// Unless a window is reset early, its number of remaining items never increases. A request with
/// more items than remained at some point within the last second can therefore be rejected without
/// a call to Redis.
#[derive(Clone, Default)]
pub struct ExhaustedClients {
    windows: Arc<Mutex<HashMap<String, Window>>>,
}

/// The rate limit window of a client.
#[derive(Debug, Clone, Copy)]
struct Window {
    remaining: u32,
    ends_at: Instant,
    confirmed_at: Instant,
}

impl ExhaustedClients {
    /// Returns the status of the rate limit if a request with `items` items can be rejected without
    /// a call to Redis.
    ///
    /// A request with an idempotency key may have been accepted before. It is therefore rejected
    /// only if it has more items than the limit allows in a whole window.
    #[must_use]
    pub fn find_rejection(
        &self,
        limit: &ClientLimit,
        items: usize,
        has_key: bool,
    ) -> Option<RateLimitStatus> {
        let now = Instant::now();
        let ClientLimit { client, rate } = limit;
        let window = self.find(client, now);
        if exceeds(items, rate.items) {
            let window = window.unwrap_or(Window {
                remaining: rate.items,
                ends_at: now + rate.window,
                confirmed_at: now,
            });
            return Some(window.status(limit, now));
        }
        let is_known = |window: &Window| {
            exceeds(items, window.remaining) && now < window.confirmed_at + CONFIRMED_FOR
        };
        window.filter(|window| !has_key && is_known(window)).map(|window| window.status(limit, now))
    }

    /// Submits a request with `items` items, unless the request is known to exceed the rate limit
    /// of the client. Stores the window of the client if Redis rejects the request because of this
    /// limit.
    pub(crate) async fn submit<R>(
        &self,
        store: &HotStore,
        kind: &str,
        items: usize,
        limit: Option<ClientLimit>,
        idempotency: Option<IdempotentRequest>,
        submission: impl Future<Output = Result<WriteOutcome<R>, HotError>>,
    ) -> Result<WriteOutcome<R>, HotError> {
        let Some(limit) = limit else { return submission.await };
        if let Some(status) = self.reject(store, kind, items, &limit, idempotency.as_ref()).await? {
            return Ok(WriteOutcome::RateLimited(status));
        }
        let submitted_at = Instant::now();
        let outcome = submission.await?;
        if let WriteOutcome::RateLimited(status) = &outcome {
            self.record(limit.client, *status, submitted_at);
        }
        Ok(outcome)
    }

    /// Returns the status of the rate limit if a request must be rejected. If the stored window is
    /// not conclusive but had too few remaining items, reads the window from Redis, which costs
    /// less than sending the request.
    async fn reject(
        &self,
        store: &HotStore,
        kind: &str,
        items: usize,
        limit: &ClientLimit,
        idempotency: Option<&IdempotentRequest>,
    ) -> Result<Option<RateLimitStatus>, HotError> {
        let rejection = self.find_rejection(limit, items, idempotency.is_some());
        if rejection.is_some() {
            return Ok(rejection);
        }
        let now = Instant::now();
        let known = self.find(&limit.client, now);
        if !known.is_some_and(|window| exceeds(items, window.remaining)) {
            return Ok(None);
        }
        let window_key = store.keys.rate(kind, limit.rate.window.as_secs(), &limit.client);
        let mut pipeline = redis::pipe();
        pipeline.get(&window_key).pttl(&window_key);
        pipeline.exists(idempotency.map_or(window_key, |request| request.key(&store.keys)));
        // Boxed, because every write contains this future and rarely needs it.
        let reading =
            Box::pin(store.call(async |connection| pipeline.query_async(connection).await));
        let reply: Result<(Option<u32>, i64, bool), _> = reading.await;
        let (sent, ends_in, has_key) = match reply {
            // The key of the window cannot be read, for example because it has the wrong type.
            // Submit the request: the script that accepts items returns an error with this key.
            Err(HotError::Rejected(_)) => return Ok(None),
            reply => reply?,
        };
        let is_replay = idempotency.is_some() && has_key;
        let window = sent.zip(u64::try_from(ends_in).ok()).map(|(sent, ends_in)| Window {
            remaining: limit.rate.items.saturating_sub(sent),
            ends_at: now + Duration::from_millis(ends_in),
            confirmed_at: now,
        });
        self.replace(&limit.client, window);
        let window = window.filter(|window| !is_replay && exceeds(items, window.remaining));
        Ok(window.map(|window| window.status(limit, now)))
    }

    fn find(&self, client: &str, now: Instant) -> Option<Window> {
        self.windows.lock().get(client).copied().filter(|window| now < window.ends_at)
    }

    /// Records the window of a client after a rejection. The rejected request was submitted at
    /// `submitted_at`.
    fn record(&self, client: String, status: RateLimitStatus, submitted_at: Instant) {
        let window = Window {
            remaining: status.remaining,
            ends_at: submitted_at + status.resets_in,
            confirmed_at: submitted_at,
        };
        let mut windows = self.windows.lock();
        if windows.len() >= CLIENTS_MAX {
            windows.retain(|_, window| submitted_at < window.ends_at);
            if windows.len() > CLIENTS_MAX / 2 {
                windows.clear();
            }
        }
        windows.insert(client, window);
    }

    /// Replaces or removes the window of a client, if one is stored.
    fn replace(&self, client: &str, new: Option<Window>) {
        let mut windows = self.windows.lock();
        match (new, windows.get_mut(client)) {
            (Some(new), Some(window)) => *window = new,
            (None, Some(_)) => drop(windows.remove(client)),
            (_, None) => {}
        }
    }
}

impl Window {
    fn status(&self, limit: &ClientLimit, now: Instant) -> RateLimitStatus {
        RateLimitStatus {
            rate: limit.rate,
            remaining: self.remaining,
            resets_in: self.ends_at.saturating_duration_since(now),
        }
    }
}

fn exceeds(items: usize, max: u32) -> bool {
    u32::try_from(items).map_or(true, |items| items > max)
}

#[cfg(test)]
mod tests {
    use mayfly_runtime::settings::Rate;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const RATE: Rate = Rate { items: 10, window: HOUR };

    fn limit(client: &str) -> ClientLimit {
        ClientLimit { client: client.into(), rate: RATE }
    }

    fn status(remaining: u32, resets_in: Duration) -> RateLimitStatus {
        RateLimitStatus { rate: RATE, remaining, resets_in }
    }

    #[tokio::test(start_paused = true)]
    async fn rejection_is_repeated_while_it_is_confirmed() {
        let clients = ExhaustedClients::default();
        assert_eq!(clients.find_rejection(&limit("a"), 1, false), None);
        clients.record("a".into(), status(4, HOUR), Instant::now());
        assert_eq!(clients.find_rejection(&limit("a"), 5, false), Some(status(4, HOUR)));
        assert_eq!(clients.find_rejection(&limit("a"), 4, false), None, "four may remain");
        assert_eq!(clients.find_rejection(&limit("a"), 5, true), None, "it may be a replay");
        assert_eq!(clients.find_rejection(&limit("b"), 5, false), None, "another client");
        tokio::time::advance(CONFIRMED_FOR).await;
        assert_eq!(clients.find_rejection(&limit("a"), 5, false), None, "not confirmed");
    }

    #[tokio::test(start_paused = true)]
    async fn rejection_ends_with_its_window() {
        let clients = ExhaustedClients::default();
        clients.record("a".into(), status(0, CONFIRMED_FOR / 2), Instant::now());
        tokio::time::advance(CONFIRMED_FOR / 4).await;
        let left = Some(status(0, CONFIRMED_FOR / 4));
        assert_eq!(clients.find_rejection(&limit("a"), 1, false), left);
        tokio::time::advance(CONFIRMED_FOR / 4).await;
        assert_eq!(clients.find_rejection(&limit("a"), 1, false), None);
    }

    #[tokio::test(start_paused = true)]
    async fn request_above_the_limit_is_always_rejected() {
        let clients = ExhaustedClients::default();
        for has_key in [false, true] {
            let rejection = clients.find_rejection(&limit("a"), 11, has_key);
            assert_eq!(rejection, Some(status(10, HOUR)));
            assert_eq!(clients.find_rejection(&limit("a"), 10, has_key), None);
        }
        clients.record("a".into(), status(3, HOUR / 2), Instant::now());
        assert_eq!(clients.find_rejection(&limit("a"), 11, true), Some(status(3, HOUR / 2)));
    }

    #[tokio::test(start_paused = true)]
    async fn number_of_clients_is_bounded() {
        let clients = ExhaustedClients::default();
        for number in 0..3 * CLIENTS_MAX {
            let window = if number % 2 == 0 { HOUR } else { Duration::ZERO };
            clients.record(number.to_string(), status(0, window), Instant::now());
        }
        assert!(clients.windows.lock().len() <= CLIENTS_MAX);
        let newest = (3 * CLIENTS_MAX - 2).to_string();
        assert_eq!(clients.find_rejection(&limit(&newest), 1, false), Some(status(0, HOUR)));
    }
}
