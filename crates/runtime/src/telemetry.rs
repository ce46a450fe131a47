//! The log: to standard output, for people or for machines.

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
    settings::{Log, LogFormat},
};

/// What libraries may say where the operator names a level for Mayfly: at finer levels some of them
/// write out what they are given, and bodies have no place in a log. Where keys for S3 are missing, a
/// part says so once, and not the library each time that it looks.
const LIBRARIES: &str = "warn,aws_config=error";

/// The filter of a level, or of directives, which are taken as they are.
fn directives(level: &str) -> String {
    if level.contains('=') {
        return level.to_owned();
    }
    let services = Service::ALL.map(|service| service.name().replace('-', "_"));
    let ours = services.iter().map(String::as_str).chain(["mayfly"]);
    ours.fold(LIBRARIES.to_owned(), |all, one| format!("{all},{one}={level}"))
}

/// Begins to log.
pub(crate) fn init(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(directives(&log.level)).context("log.level")?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(Milliseconds)
        .with_ansi(std::io::stdout().is_terminal())
        .log_internal_errors(false);
    match log.format {
        LogFormat::Pretty => builder.finish().try_init(),
        LogFormat::Json => {
            builder.json().flatten_event(true).with_span_list(false).finish().try_init()
        }
    }
    .context("the log is there already")?;
    log_panics();
    Ok(())
}

/// A panic is a line of the log like any other.
fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let owned = payload.downcast_ref::<String>().map(String::as_str);
        let message = payload.downcast_ref::<&str>().copied().or(owned).unwrap_or("no message");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        error!(panic.message = message, panic.place = place, "panicked");
    }));
}

/// RFC 3339, UTC, milliseconds.
struct Milliseconds;

impl FormatTime for Milliseconds {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let now = DateTime::<Utc>::from(SystemTime::now());
        writer.write_str(&now.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}
