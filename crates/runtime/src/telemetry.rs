//! Logging to standard output, as text or JSON.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    panic,
    time::SystemTime,
};

use anyhow::Context;
use chrono::{DateTime, SecondsFormat, Utc};
use tracing::error;
use tracing_subscriber::{
    EnvFilter,
    fmt::{format::Writer, time::FormatTime},
    util::SubscriberInitExt,
};

use crate::{
    Service,
    redact::{LogRedaction, redact},
    settings::{LogFormat, LogSettings},
};

/// The log levels of libraries if the operator configures only a level. At more verbose levels,
/// some libraries log bodies. If S3 credentials are missing, `aws_config` logs a warning on each
/// lookup, although the health of the S3 component already reports the problem.
const LIBRARY_DIRECTIVES: &str = "warn,aws_config=error";
/// The directive that suppresses the errors that the HTTP library logs for malformed requests. Only
/// the client can fix a malformed request.
const CLIENT_ERRORS_OFF: &str = "actix_http=off";

/// Returns the filter directives for a level. If `level` already consists of directives, adds only
/// [`CLIENT_ERRORS_OFF`], which the directives in `level` can override.
fn to_directives(level: &str) -> String {
    if level.contains('=') {
        return format!("{CLIENT_ERRORS_OFF},{level}");
    }
    let services = Service::ALL.map(|service| service.name().replace('-', "_"));
    let targets = services.iter().map(String::as_str).chain(["mayfly"]);
    let libraries = format!("{LIBRARY_DIRECTIVES},{CLIENT_ERRORS_OFF}");
    targets.fold(libraries, |all, target| format!("{all},{target}={level}"))
}

/// Installs the global subscriber and the panic hook. No line contains the secrets of `redaction`.
pub(crate) fn init(log: &LogSettings, redaction: LogRedaction) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(to_directives(&log.level)).context("log.level is invalid")?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(UtcMilliseconds)
        .with_writer(move || RedactingWriter { output: io::stdout(), redaction: redaction.clone() })
        .with_ansi(io::stdout().is_terminal())
        .log_internal_errors(false);
    match log.format {
        LogFormat::Pretty => builder.finish().try_init(),
        LogFormat::Json => {
            builder.json().flatten_event(true).with_span_list(false).finish().try_init()
        }
    }
    .context("a log subscriber is already installed")?;
    log_panics();
    Ok(())
}

/// Logs panics instead of printing them to standard error.
fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let owned = payload.downcast_ref::<String>().map(String::as_str);
        let message = payload.downcast_ref::<&str>().copied().or(owned).unwrap_or("no message");
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = &*redact(message);
        error!(panic.message = message, panic.location = location, "thread panicked");
    }));
}

/// A writer of log lines that redacts secrets. The subscriber passes each line in one piece.
struct RedactingWriter<W> {
    output: W,
    redaction: LogRedaction,
}

impl<W: Write> Write for RedactingWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        self.output.write_all(self.redaction.redact(&text).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// A timer that formats timestamps according to RFC 3339, in UTC with milliseconds.
struct UtcMilliseconds;

impl FormatTime for UtcMilliseconds {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let now = DateTime::<Utc>::from(SystemTime::now());
        writer.write_str(&now.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing::{debug, debug_span, subscriber::with_default};

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn line_in_each_format_contains_no_secret() {
        for is_json in [false, true] {
            let memory = Memory::default();
            let output = memory.clone();
            let redaction = LogRedaction::new(["hunter2".to_owned(), "a\"hunter3".to_owned()]);
            let builder = tracing_subscriber::fmt()
                .with_max_level(tracing::Level::DEBUG)
                .with_writer(move || RedactingWriter {
                    output: output.clone(),
                    redaction: redaction.clone(),
                });
            let log = || {
                let _span = debug_span!("request", secret = "hunter2").entered();
                debug!(error = %"AUTH hunter2", other = ?"a\"hunter3", "sent hunter2");
            };
            if is_json {
                with_default(builder.json().finish(), log);
            } else {
                with_default(builder.finish(), log);
            }
            let text = String::from_utf8(memory.0.lock().clone()).expect("valid UTF-8");
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(text.contains("<redacted>") && !text.contains("hunter"), "{text}");
        }
    }
}
