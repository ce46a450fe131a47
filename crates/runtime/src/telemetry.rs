//! Logging to standard output, as text or JSON.

use std::{fmt, io::IsTerminal, panic, time::SystemTime};

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

/// Installs the global subscriber and the panic hook.
pub(crate) fn init(log: &LogSettings) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(to_directives(&log.level)).context("log.level is invalid")?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(UtcMilliseconds)
        .with_ansi(std::io::stdout().is_terminal())
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
        error!(panic.message = message, panic.location = location, "thread panicked");
    }));
}

/// A timer that formats timestamps according to RFC 3339, in UTC with milliseconds.
struct UtcMilliseconds;

impl FormatTime for UtcMilliseconds {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let now = DateTime::<Utc>::from(SystemTime::now());
        writer.write_str(&now.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}
