//! Logging of a task that fails repeatedly.

use std::fmt::Display;

use tracing::{debug, info, warn};

use crate::redact;

/// The log of a task that is retried after a failure: one warning per outage, and one line when the
/// task recovers. Further failures of an outage are logged at `debug`.
#[derive(Debug)]
pub struct OutageLog {
    task: &'static str,
    is_failing: bool,
}

impl OutageLog {
    /// Creates the log of a task that has not failed yet.
    pub fn new(task: &'static str) -> Self {
        Self { task, is_failing: false }
    }

    /// Records the result of a run. Connection strings in the error are redacted.
    pub fn record<T, E: Display>(&mut self, result: &Result<T, E>) {
        let (task, was_failing) = (self.task, self.is_failing);
        self.is_failing = result.is_err();
        match result {
            Ok(_) if was_failing => info!(task, "task recovered"),
            Ok(_) => {}
            Err(error) => {
                let error = redact(&error.to_string()).into_owned();
                if was_failing {
                    debug!(task, error, "task failed again");
                } else {
                    warn!(task, error, "task failed; retrying");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use parking_lot::Mutex;
    use tracing::Level;

    use super::OutageLog;

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

    #[test]
    fn outage_is_logged_when_it_begins_and_ends() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::DEBUG)
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let mut log = OutageLog::new("sampling");
            let failed = Err("no route to redis://:hunter2@there");
            for result in [Ok(()), failed, failed, Ok(()), Ok(()), failed] {
                log.record(&result);
            }
        });
        let text = String::from_utf8(lines.0.lock().clone()).expect("valid UTF-8");
        let levels: Vec<_> =
            text.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(levels, ["WARN", "DEBUG", "INFO", "WARN"], "{text}");
        assert!(text.contains("sampling") && text.contains("no route to <redacted>"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
