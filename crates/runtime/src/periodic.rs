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

#[cfg(test)]
mod tests {
    use tokio::{runtime::Builder, time::timeout};
    use tracing::Level;

    use super::*;
    use crate::outage_log::tests::{levels, log_lines};

    #[test]
    fn failing_task_is_logged_at_its_first_failure_and_once_a_minute() {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime");
        let lines = log_lines(Level::INFO, || {
            runtime.block_on(async {
                let failing = async || Err::<(), _>("no answer");
                let running = run_periodically(Duration::from_secs(1), "sampling", failing);
                timeout(Duration::from_millis(60_500), running).await.expect_err("endless");
            });
        });
        assert_eq!(levels(&lines), ["WARN", "WARN"], "{lines:?}");
        assert!(lines[0].contains("sampling") && lines[0].contains("no answer"), "{lines:?}");
        assert!(lines[1].contains("failures=61"), "{lines:?}");
    }
}
