//! What is done again and again beside the work.

use std::{fmt::Display, time::Duration};

use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::debug;

/// Ticks at once, and then every so long. Where what is done between two ticks takes longer than that,
/// the next one comes right afterwards, and what was missed is not made up for.
pub fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Does something at once and then every so long, until aborted. What fails is noted in the log under `what`, and
/// tried again the next time.
pub async fn repeat<E: Display>(
    period: Duration,
    what: &'static str,
    mut act: impl AsyncFnMut() -> Result<(), E>,
) {
    let mut ticks = every(period);
    loop {
        ticks.tick().await;
        if let Err(error) = act().await {
            debug!(%error, what, "it cannot be done now");
        }
    }
}
