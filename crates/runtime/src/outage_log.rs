//! Logging for tasks that are retried after a failure.

use std::{
    fmt::Display,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::redact;

/// The interval between the log lines about a lasting outage.
pub(crate) const REPEAT_INTERVAL: Duration = Duration::from_secs(60);
/// The maximum number of outages of a task per [`REPEAT_INTERVAL`] that are logged when they begin
/// and end. A further outage is logged only if it lasts for at least this interval.
const OUTAGES_MAX: u32 = 5;

/// The log for a task that is retried after a failure: one warning when an outage begins, one
/// warning per minute with the number of failures while the outage lasts, and one line when the
/// task recovers. If more than five outages begin within a minute, further outages are logged only
/// if they last for a minute. Every failure is logged at `debug`.
///
/// Clones share one state, so several tasks with the same dependency can share one log.
#[derive(Clone, Debug)]
pub struct OutageLog {
    inner: Arc<SharedLog>,
}

#[derive(Debug)]
struct SharedLog {
    task: &'static str,
    /// Whether there is an outage. A success checks this flag without locking `state`.
    is_failing: AtomicBool,
    state: Mutex<OutageState>,
}

#[derive(Debug, Default)]
pub(crate) struct OutageState {
    outage: Option<Outage>,
    /// The start of the current interval, and the number of outages that began in it.
    interval: Option<(Instant, u32)>,
}

#[derive(Debug)]
struct Outage {
    since: Instant,
    reported_at: Instant,
    /// Whether the outage has been logged.
    is_reported: bool,
    failures: u64,
}

/// The line to log for a failure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Begin,
    /// The outage continues. Contains the number of failures and the duration so far.
    Repeat(u64, Duration),
    None,
}

impl OutageLog {
    /// Creates the log for a task that has not failed yet.
    pub fn new(task: &'static str) -> Self {
        let (is_failing, state) = (AtomicBool::new(false), Mutex::default());
        Self { inner: Arc::new(SharedLog { task, is_failing, state }) }
    }

    /// Records the result of one run of the task. Connection strings in the error are redacted.
    pub fn record<T, E: Display>(&self, result: &Result<T, E>) {
        match result {
            Ok(_) => self.record_success(),
            Err(error) => self.record_failure(error),
        }
    }

    /// Records a success. Costs one atomic load if there is no outage.
    pub fn record_success(&self) {
        if !self.inner.is_failing.load(Ordering::Acquire) {
            return;
        }
        let mut state = self.inner.state.lock();
        self.inner.is_failing.store(false, Ordering::Release);
        if let Some((failures, lasted)) = state.recover() {
            let seconds = lasted.as_secs();
            info!(task = self.inner.task, failures, seconds, "task recovered");
        }
    }

    /// Records a failure.
    pub fn record_failure(&self, error: impl Display) {
        let task = self.inner.task;
        let error = redact(&error.to_string()).into_owned();
        debug!(task, error, "task failed");
        let line = {
            let mut state = self.inner.state.lock();
            self.inner.is_failing.store(true, Ordering::Release);
            state.fail(Instant::now())
        };
        match line {
            Line::Begin => warn!(task, error, "task failed; retrying"),
            Line::Repeat(failures, lasting) => {
                warn!(
                    task,
                    error,
                    failures,
                    seconds = lasting.as_secs(),
                    "task is still failing; retrying"
                );
            }
            Line::None => {}
        }
    }
}

impl OutageState {
    /// Ends the outage, if there is one. Returns the number of failures and the duration, or `None`
    /// if no outage was logged.
    pub(crate) fn recover(&mut self) -> Option<(u64, Duration)> {
        let Outage { since, is_reported, failures, .. } = self.outage.take()?;
        is_reported.then(|| (failures, since.elapsed()))
    }

    /// Records a failure, and returns the line to log.
    pub(crate) fn fail(&mut self, now: Instant) -> Line {
        if let Some(outage) = &mut self.outage {
            outage.failures += 1;
            if now.duration_since(outage.reported_at) < REPEAT_INTERVAL {
                return Line::None;
            }
            (outage.reported_at, outage.is_reported) = (now, true);
            return Line::Repeat(outage.failures, now.duration_since(outage.since));
        }
        let (began, before) = self
            .interval
            .filter(|(began, _)| now.duration_since(*began) < REPEAT_INTERVAL)
            .unwrap_or((now, 0));
        self.interval = Some((began, before + 1));
        let is_reported = before < OUTAGES_MAX;
        self.outage = Some(Outage { since: now, reported_at: now, is_reported, failures: 1 });
        if is_reported { Line::Begin } else { Line::None }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io;

    use tracing::Level;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns the lines that `record` logs at `level` and above.
    pub(crate) fn log_lines(level: Level, record: impl FnOnce()) -> Vec<String> {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, record);
        let text = String::from_utf8(lines.0.lock().clone()).expect("valid UTF-8");
        text.lines().map(|line| line.trim().to_owned()).collect()
    }

    pub(crate) fn levels(lines: &[String]) -> Vec<&str> {
        lines.iter().filter_map(|line| line.split_whitespace().next()).collect()
    }

    #[test]
    fn outage_is_logged_when_it_begins_and_ends() {
        let lines = log_lines(Level::INFO, || {
            let log = OutageLog::new("sampling");
            let failed = Err("no route to redis://:hunter2@there");
            for result in [Ok(()), failed, failed, Ok(()), Ok(()), failed] {
                log.clone().record(&result);
            }
        });
        assert_eq!(levels(&lines), ["WARN", "INFO", "WARN"], "{lines:?}");
        let text = lines.join("\n");
        assert!(text.contains("sampling") && text.contains("no route to <redacted>"), "{text}");
        assert!(lines[1].contains("failures=2"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn lasting_outage_is_logged_once_a_minute_with_its_failures() {
        let (mut state, start) = (OutageState::default(), Instant::now());
        assert_eq!(state.fail(start), Line::Begin);
        for second in 1..60 {
            assert_eq!(state.fail(start + Duration::from_secs(second)), Line::None);
        }
        let minute = REPEAT_INTERVAL;
        assert_eq!(state.fail(start + minute), Line::Repeat(61, minute));
        assert_eq!(state.fail(start + minute), Line::None);
    }

    #[test]
    fn task_that_fails_and_recovers_repeatedly_does_not_flood_the_log() {
        let lines = log_lines(Level::INFO, || {
            let log = OutageLog::new("sampling");
            for _ in 0..1_000 {
                log.record_failure("no answer");
                log.record_success();
            }
        });
        assert_eq!(lines.len(), 2 * usize::try_from(OUTAGES_MAX).expect("a small number"));
    }
}
