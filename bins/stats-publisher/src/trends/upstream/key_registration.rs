//! Registration of keys that the source accepted: the relation of key and host in Postgres.
//!
//! A key is registered before callers see it as accepted. If Postgres is unavailable, the key is
//! accepted anyway, and Redis stores it until it is registered.

use std::time::Duration;

use mayfly_cold::ColdStore;
use mayfly_hot::{HotStore, SourceCall};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};
use tracing::{debug, warn};

/// How long a caller waits for Postgres.
const REGISTRATION_TIMEOUT: Duration = Duration::from_millis(500);
/// The interval of checks for unregistered keys.
const POLL_INTERVAL: Duration = Duration::from_secs(3);

/// Registers a key that the source has just accepted, and returns whether it succeeded.
pub async fn register_key(cold: &ColdStore, call: &SourceCall) -> bool {
    let start = call.key_start();
    let api_keys = cold.api_keys();
    let registration = api_keys.register_source_key(&call.digest, &start, &call.host);
    match timeout(REGISTRATION_TIMEOUT, registration).await {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => debug!(%error, host = %call.host, "cannot register a key yet; retrying"),
        Err(_) => debug!(host = %call.host, "the registration of a key timed out; retrying"),
    }
    false
}

/// Registers unregistered keys periodically.
pub struct KeyRegistration {
    hot: HotStore,
    cold: ColdStore,
    task: Option<JoinHandle<()>>,
    next_at: Instant,
}

impl KeyRegistration {
    /// Creates a registration that is due immediately.
    pub fn new(hot: HotStore, cold: ColdStore) -> Self {
        Self { hot, cold, task: None, next_at: Instant::now() }
    }

    /// Spawns the registration if it is due and not in progress.
    pub fn spawn_if_due(&mut self) {
        let is_running = self.task.as_ref().is_some_and(|task| !task.is_finished());
        if Instant::now() < self.next_at || is_running {
            return;
        }
        self.next_at = Instant::now() + POLL_INTERVAL;
        self.task = Some(tokio::spawn(register_all(self.hot.clone(), self.cold.clone())));
    }
}

/// Registers all keys. If it is interrupted, a key is registered again without effect.
async fn register_all(hot: HotStore, cold: ColdStore) {
    let keys = match hot.source().find_unregistered_keys().await {
        Ok(keys) => keys,
        Err(error) => return debug!(%error, "cannot read the unregistered keys; retrying"),
    };
    for key in keys {
        match cold.api_keys().register_source_key(&key.digest, &key.start, &key.host).await {
            Ok(()) => {}
            Err(error) if error.is_retryable() => {
                return debug!(%error, "cannot register keys yet; retrying");
            }
            Err(error) => {
                warn!(%error, host = %key.host, "Postgres rejected a key: it is not registered");
            }
        }
        if let Err(error) = hot.source().mark_key_registered(&key).await {
            return debug!(%error, "cannot mark a key as registered; retrying");
        }
    }
}
