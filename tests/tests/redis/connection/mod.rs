//! Connections, errors and the health check, on Redis servers in many states.

mod clock;
mod health;
mod idle;
mod server;
mod states;
#[path = "../../../../crates/hot/src/connection/test_metrics.rs"]
mod test_metrics;
mod tls;

use std::time::{Duration, Instant};

/// How long a test waits for an event.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Polls `check` until it returns `Ok`.
async fn eventually<T, E: std::fmt::Debug>(
    description: &str,
    mut check: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let started = Instant::now();
    loop {
        match check().await {
            Ok(value) => return value,
            Err(last) => {
                assert!(started.elapsed() < TIMEOUT, "timed out: {description}: {last:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}
