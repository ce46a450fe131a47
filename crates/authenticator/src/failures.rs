//! The limit on failed authentications per client.
//!
//! Redis counts the failures, so the limit is exact across all processes. If Redis cannot count a
//! failure, the process counts it against a limit of the same size, so an outage of Redis neither
//! disables the limit nor rejects all callers.

use std::{collections::HashMap, fmt::Display, time::Duration};

use mayfly_core::StoreError;
use mayfly_hot::{FailureWindow, HotStore};
use mayfly_runtime::settings::Rate;
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::debug;

use crate::AuthError;

/// The maximum number of clients in each map. Above this number, the failures of further clients
/// during an outage are counted together, and further clients over their limit are found in Redis.
const CLIENTS_MAX: usize = 10_000;
/// The time for which a client over its limit is rejected without a call to Redis. It is short,
/// because an operator can delete the key of the window.
const CONFIRMED_FOR: Duration = Duration::from_secs(1);
/// The minimum time between two removals of the ended windows in a map. A removal visits all clients
/// of the map, so failures from many addresses must not cause one each.
const REMOVAL_INTERVAL: Duration = Duration::from_secs(1);
/// The name under which further clients are counted. It is not the name of a client.
const FURTHER_CLIENTS: &str = "";

/// The limit on failed authentications of a process.
pub(crate) struct FailureLimiter {
    hot: HotStore,
    /// `None` disables the limit.
    rate: Option<Rate>,
    /// The clients that have exceeded their limit.
    limited: Mutex<Windows<LimitedClient>>,
    /// The failures that Redis could not count.
    uncounted: Mutex<Windows<LocalWindow>>,
}

/// The windows of at most [`CLIENTS_MAX`] clients, and of [`FURTHER_CLIENTS`].
struct Windows<T> {
    by_client: HashMap<Box<str>, T>,
    /// The time of the last removal of ended windows.
    removed_at: Option<Instant>,
}

impl<T> Default for Windows<T> {
    fn default() -> Self {
        Self { by_client: HashMap::new(), removed_at: None }
    }
}

impl<T> Windows<T> {
    /// Returns whether there is room for the window of another client.
    fn has_room(&mut self, now: Instant, ends_at: impl Fn(&T) -> Instant) -> bool {
        let is_due = self.removed_at.is_none_or(|last| last + REMOVAL_INTERVAL <= now);
        if self.by_client.len() >= CLIENTS_MAX && is_due {
            self.by_client.retain(|_, window| now < ends_at(window));
            self.removed_at = Some(now);
        }
        self.by_client.len() < CLIENTS_MAX
    }
}

/// A client that has exceeded its limit.
#[derive(Clone, Copy)]
struct LimitedClient {
    ends_at: Instant,
    /// The time of the last request to Redis that confirmed the window.
    confirmed_at: Instant,
}

/// The failures of a client in a window.
struct LocalWindow {
    failures: u32,
    ends_at: Instant,
}

impl FailureLimiter {
    /// Creates a limit.
    pub(crate) fn new(hot: HotStore, rate: Option<Rate>) -> Self {
        Self { hot, rate, limited: Mutex::default(), uncounted: Mutex::default() }
    }

    /// Returns an error if the client has exceeded its limit, according to a failure of the client
    /// in this process.
    pub(crate) async fn check(&self, client: &(impl Display + ?Sized)) -> Result<(), AuthError> {
        let Some(rate) = self.rate else { return Ok(()) };
        if self.limited.lock().by_client.is_empty() {
            return Ok(());
        }
        let client = client.to_string();
        let now = Instant::now();
        let Some((window, is_confirmed)) = self.find_limited(&client, now) else { return Ok(()) };
        let rejection = AuthError::RateLimited { retry_after: window.ends_at - now, rate };
        if is_confirmed {
            return Err(rejection);
        }
        match self.hot.auth_failures().read(&client, rate).await {
            Ok(Some(FailureWindow { is_exceeded: false, .. })) => {
                self.limited.lock().by_client.remove(client.as_str());
                Ok(())
            }
            Ok(_) => Err(rejection),
            Err(error) => {
                log_failure(&error);
                Err(rejection)
            }
        }
    }

    /// Counts a failed authentication.
    ///
    /// # Errors
    /// [`AuthError::RateLimited`] if the failure exceeds the limit of the client.
    pub(crate) async fn count(&self, client: &(impl Display + ?Sized)) -> Result<(), AuthError> {
        let Some(rate) = self.rate else { return Ok(()) };
        let client = client.to_string();
        let counted = self.hot.auth_failures().count(&client, rate).await;
        let now = Instant::now();
        let resets_in = match counted {
            Ok(Some(window)) => window.is_exceeded.then_some(window.resets_in),
            Ok(None) => self.count_locally(&client, rate, now),
            Err(error) => {
                log_failure(&error);
                self.count_locally(&client, rate, now)
            }
        };
        match resets_in {
            None => Ok(()),
            Some(retry_after) => {
                self.record_limited(client, now, retry_after);
                Err(AuthError::RateLimited { retry_after, rate })
            }
        }
    }

    /// Returns the window of a client over its limit, and whether the window was confirmed a moment
    /// ago. If not, the caller must confirm it, and concurrent callers regard it as confirmed.
    fn find_limited(&self, client: &str, now: Instant) -> Option<(LimitedClient, bool)> {
        let mut limited = self.limited.lock();
        let found = limited.by_client.get_mut(client)?;
        if found.ends_at <= now {
            limited.by_client.remove(client);
            return None;
        }
        let is_confirmed = now < found.confirmed_at + CONFIRMED_FOR;
        if !is_confirmed {
            found.confirmed_at = now;
        }
        Some((*found, is_confirmed))
    }

    fn record_limited(&self, client: String, now: Instant, resets_in: Duration) {
        let mut limited = self.limited.lock();
        if limited.has_room(now, |window| window.ends_at) {
            let window = LimitedClient { ends_at: now + resets_in, confirmed_at: now };
            limited.by_client.insert(client.into(), window);
        }
    }

    /// Counts a failure in this process. Returns the time until the window ends if the failure
    /// exceeds the limit.
    fn count_locally(&self, client: &str, rate: Rate, now: Instant) -> Option<Duration> {
        let mut uncounted = self.uncounted.lock();
        let has_room = uncounted.by_client.contains_key(client)
            || uncounted.has_room(now, |window| window.ends_at);
        let name = if has_room { client } else { FURTHER_CLIENTS };
        let window = uncounted
            .by_client
            .entry(name.into())
            .or_insert_with(|| LocalWindow { failures: 0, ends_at: now + rate.window });
        if window.ends_at <= now {
            *window = LocalWindow { failures: 0, ends_at: now + rate.window };
        }
        if window.failures >= rate.items {
            return Some(window.ends_at - now);
        }
        window.failures += 1;
        None
    }
}

/// Logs that Redis could not count or read failures. The health check logs outages of Redis, and
/// the hot store logs keys that cannot be read.
fn log_failure(error: &impl StoreError) {
    debug!(%error, "cannot count failed authentications in Redis");
}

#[cfg(test)]
mod tests {
    use mayfly_runtime::Settings;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const RATE: Rate = Rate { items: 3, window: MINUTE };

    /// Returns a limiter whose Redis is unavailable.
    fn limiter() -> FailureLimiter {
        let env = [("MAYFLY_REDIS__URL".to_owned(), "redis://127.0.0.1:9".to_owned())];
        let settings = Settings::from_layers(None, env.into_iter()).expect("valid settings");
        let hot = HotStore::new(&settings.redis).expect("a valid URL");
        FailureLimiter::new(hot, Some(RATE))
    }

    #[tokio::test(start_paused = true)]
    async fn window_begins_with_the_first_failure_and_ends() {
        let limiter = limiter();
        let count = |client| limiter.count_locally(client, RATE, Instant::now());
        for _ in 0..3 {
            assert_eq!(count("a"), None);
            tokio::time::advance(MINUTE / 4).await;
        }
        assert_eq!(count("a"), Some(MINUTE / 4));
        assert_eq!(count("b"), None, "another client");
        tokio::time::advance(MINUTE / 4).await;
        assert_eq!(count("a"), None, "the next window");
    }

    #[tokio::test(start_paused = true)]
    async fn number_of_counted_clients_is_bounded() {
        let limiter = limiter();
        let count = |client: &str| limiter.count_locally(client, RATE, Instant::now());
        for number in 0..CLIENTS_MAX {
            assert_eq!(count(&number.to_string()), None);
        }
        let further: Vec<_> = (0..5).map(|number| count(&format!("x{number}"))).collect();
        assert_eq!(further, [None, None, None, Some(MINUTE), Some(MINUTE)], "counted together");
        assert_eq!(count("0"), None, "a known client");
        assert!(limiter.uncounted.lock().by_client.len() <= CLIENTS_MAX + 1);
        tokio::time::advance(MINUTE).await;
        assert_eq!(count("x5"), None);
        assert_eq!(limiter.uncounted.lock().by_client.len(), 1, "ended windows are removed");
    }

    #[tokio::test(start_paused = true)]
    async fn full_map_is_searched_for_ended_windows_at_most_once_a_second() {
        let mut windows = Windows::<Instant>::default();
        let ends_at = Instant::now() + MINUTE;
        windows
            .by_client
            .extend((0..CLIENTS_MAX).map(|number| (number.to_string().into(), ends_at)));
        let visited = std::cell::Cell::new(0);
        let mut has_room = || {
            windows.has_room(Instant::now(), |window| {
                visited.set(visited.get() + 1);
                *window
            })
        };
        for _ in 0..100 {
            assert!(!has_room());
        }
        assert_eq!(visited.get(), CLIENTS_MAX);
        tokio::time::advance(REMOVAL_INTERVAL).await;
        assert!(!has_room() && !has_room());
        assert_eq!(visited.get(), 2 * CLIENTS_MAX);
        tokio::time::advance(MINUTE).await;
        assert!(has_room());
    }

    #[tokio::test(start_paused = true)]
    async fn limited_client_is_confirmed_once_a_second_until_its_window_ends() {
        let limiter = limiter();
        let find = |client: &str| limiter.find_limited(client, Instant::now());
        limiter.record_limited("a".to_owned(), Instant::now(), MINUTE);
        assert!(find("a").is_some_and(|(_, is_confirmed)| is_confirmed));
        assert!(find("b").is_none());
        tokio::time::advance(CONFIRMED_FOR).await;
        assert!(find("a").is_some_and(|(_, is_confirmed)| !is_confirmed));
        assert!(find("a").is_some_and(|(_, is_confirmed)| is_confirmed), "another caller");
        tokio::time::advance(MINUTE).await;
        assert!(find("a").is_none() && limiter.limited.lock().by_client.is_empty());
    }

    #[tokio::test]
    async fn outage_of_redis_neither_disables_the_limit_nor_rejects_other_clients() {
        let limiter = limiter();
        for _ in 0..3 {
            assert_eq!(limiter.check("a").await, Ok(()));
            assert_eq!(limiter.count("a").await, Ok(()));
        }
        let is_limited =
            |result: Result<(), AuthError>| matches!(result, Err(AuthError::RateLimited { .. }));
        assert!(is_limited(limiter.count("a").await));
        assert!(is_limited(limiter.check("a").await));
        assert_eq!(limiter.check("b").await, Ok(()));
        assert_eq!(limiter.count("b").await, Ok(()));
    }
}
