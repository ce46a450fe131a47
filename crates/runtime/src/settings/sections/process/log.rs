//! `[log]`: level and format of the log.

use serde::{Deserialize, Deserializer};
use tracing_subscriber::EnvFilter;

use crate::settings::values::parse_scalar;

/// Level and format of the log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// A level, or filter directives such as `info,list_api=debug`.
    #[serde(deserialize_with = "level")]
    pub level: String,
    /// The format of a log line.
    #[serde(deserialize_with = "format")]
    pub format: LogFormat,
}

/// The format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Human-readable text.
    Pretty,
    /// One JSON object per line.
    Json,
}

fn level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    const ALLOWED: &str =
        "off, error, warn, info, debug or trace, or directives such as info,list_api=debug";
    parse_scalar(deserializer, ALLOWED, |value| {
        let text = value.as_text()?;
        let is_valid = text.split(',').all(is_directive) && EnvFilter::try_new(text).is_ok();
        is_valid.then(|| text.to_owned())
    })
}

/// Returns whether `text` is a level or a directive. `EnvFilter` reads any other bare word as the
/// name of a target, so it would accept a misspelled level.
fn is_directive(text: &str) -> bool {
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    text.contains('=') || levels.iter().any(|level| level.eq_ignore_ascii_case(text))
}

fn format<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LogFormat, D::Error> {
    parse_scalar(deserializer, "pretty or json", |value| match value.as_text()? {
        "pretty" => Some(LogFormat::Pretty),
        "json" => Some(LogFormat::Json),
        _ => None,
    })
}
