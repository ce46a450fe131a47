//! Keys that the source accepted, related to their hosts in Postgres.
//!
//! That is done before anybody is told that a key is accepted, as long as Postgres answers. Where it
//! does not, the key is accepted all the same, and stands in Redis until it is related here.

use std::time::Duration;

use mayfly_cold::Cold;
use mayfly_hot::{Hot, SourceCall};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};
use tracing::{debug, warn};

/// How long who waits for a key waits for Postgres.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often it is looked for keys that are not related yet.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// Relates a key that the source just accepted; gives whether Postgres knows it now.
pub async fn relate(cold: &Cold, call: &SourceCall) -> bool {
    let start = call.start();
    let relating = cold.relate_source_key(&call.digest, &start, &call.host);
    match timeout(PATIENCE, relating).await {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => debug!(%error, host = %call.host, "a key is related later"),
        Err(_) => debug!(host = %call.host, "a key is related later: Postgres is slow"),
    }
    false
}

/// Relates what is not related yet, now and then.
pub struct Relating {
    hot: Hot,
    cold: Cold,
    task: Option<JoinHandle<()>>,
    next: Instant,
}

impl Relating {
    /// Between the two stores.
    pub fn new(hot: Hot, cold: Cold) -> Self {
        Self { hot, cold, task: None, next: Instant::now() }
    }

    /// Begins again if it is time for that; waits for nothing.
    pub fn step(&mut self) {
        if Instant::now() < self.next || self.task.as_ref().is_some_and(|task| !task.is_finished())
        {
            return;
        }
        self.next = Instant::now() + LOOK_EVERY;
        self.task = Some(tokio::spawn(relate_all(self.hot.clone(), self.cold.clone())));
    }
}

/// Killed between two lines, one is related again, which changes nothing.
async fn relate_all(hot: Hot, cold: Cold) {
    let keys = match hot.find_unrelated_keys().await {
        Ok(keys) => keys,
        Err(error) => return debug!(%error, "keys cannot be related now"),
    };
    for key in keys {
        match cold.relate_source_key(&key.digest, &key.start, &key.host).await {
            Ok(()) => {}
            Err(error) if error.may_pass() => return debug!(%error, "keys are related later"),
            Err(error) => warn!(%error, host = %key.host, "a key is not related: Postgres refuses"),
        }
        if let Err(error) = hot.forget_unrelated_key(&key).await {
            return debug!(%error, "what is related is noted later");
        }
    }
}
