//! Periodic background tasks.

use std::{fmt::Display, time::Duration};

use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::OutageLog;

/// Returns an interval that ticks immediately and then once per `period`. If the work between two
/// ticks takes longer than the period, the next tick follows immediately, and missed ticks are
/// skipped.
pub fn ticker(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Runs `action` immediately and then once per `period`, until the future is dropped. A failed run
/// is retried at the next tick. The log names the task when it starts to fail and when it recovers.
pub async fn run_periodically<E: Display>(
    period: Duration,
    task: &'static str,
    mut action: impl AsyncFnMut() -> Result<(), E>,
) {
    let mut ticks = ticker(period);
    let outages = OutageLog::new(task);
    loop {
        ticks.tick().await;
        let result = action().await;
        outages.record(&result);
    }
}
