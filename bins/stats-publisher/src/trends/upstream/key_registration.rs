//! Registers the keys that the source has accepted. Postgres stores the digest and the hosts of
//! each key.
//!
//! Normally, a key is registered before its acceptance is recorded. If Postgres is unavailable, the
//! key is accepted anyway, and Redis stores its digest until the key is registered.

use std::{sync::Arc, time::Duration};

use mayfly_cold::ColdStore;
use mayfly_hot::{HotStore, SourceCall};
use mayfly_runtime::{LogBudget, OutageLog};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};
use tracing::warn;

/// The maximum time that a caller waits for Postgres.
const REGISTRATION_TIMEOUT: Duration = Duration::from_millis(500);
/// The maximum number of rejected keys that are logged per minute.
const REJECTIONS_PER_MINUTE: u32 = 20;
/// The interval between two checks for unregistered keys.
const POLL_INTERVAL: Duration = Duration::from_secs(3);

/// Registers a key that the source has just accepted. Returns whether the registration succeeded.
pub async fn register_key(cold: &ColdStore, call: &SourceCall, outages: &OutageLog) -> bool {
    let start = call.key_start();
    let api_keys = cold.api_keys();
    let registration = api_keys.register_source_key(&call.digest, &start, &call.host);
    match timeout(REGISTRATION_TIMEOUT, registration).await {
        Ok(Ok(())) => {
            outages.record_success();
            return true;
        }
        Ok(Err(error)) => outages.record_failure(error),
        Err(_) => outages.record_failure("the registration of a key timed out"),
    }
    false
}

/// The periodic registration of keys that have not been registered yet.
pub struct KeyRegistration {
    hot: HotStore,
    cold: ColdStore,
    task: Option<JoinHandle<()>>,
    next_at: Instant,
    outages: OutageLog,
    rejections: Arc<LogBudget>,
}

impl KeyRegistration {
    /// Creates a registration that is due immediately.
    pub fn new(hot: HotStore, cold: ColdStore) -> Self {
        Self {
            hot,
            cold,
            task: None,
            next_at: Instant::now(),
            outages: OutageLog::new("register source keys"),
            rejections: Arc::new(LogBudget::new(REJECTIONS_PER_MINUTE)),
        }
    }

    /// Returns the failure log of the registrations.
    pub fn outages(&self) -> &OutageLog {
        &self.outages
    }

    /// Spawns the registration if it is due and not in progress.
    pub fn spawn_if_due(&mut self) {
        let is_running = self.task.as_ref().is_some_and(|task| !task.is_finished());
        if Instant::now() < self.next_at || is_running {
            return;
        }
        self.next_at = Instant::now() + POLL_INTERVAL;
        let (hot, cold, outages) = (self.hot.clone(), self.cold.clone(), self.outages.clone());
        let rejections = Arc::clone(&self.rejections);
        self.task = Some(tokio::spawn(async move {
            outages.record(&register_batch(&hot, &cold, &rejections).await);
        }));
    }
}

/// Registers some of the keys that have not been registered yet. After an interruption, registering
/// a key again has no effect.
async fn register_batch(
    hot: &HotStore,
    cold: &ColdStore,
    rejections: &LogBudget,
) -> anyhow::Result<()> {
    for key in hot.source().find_unregistered_keys().await? {
        match cold.api_keys().register_source_key(&key.digest, &key.start, &key.host).await {
            Ok(()) => {}
            Err(error) if error.is_retryable() => return Err(error.into()),
            Err(error) => {
                if let Some(suppressed) = rejections.take() {
                    warn!(
                        %error,
                        host = %key.host,
                        suppressed,
                        "Postgres rejected a key; it will not be registered"
                    );
                }
            }
        }
        hot.source().mark_key_registered(&key).await?;
    }
    Ok(())
}
