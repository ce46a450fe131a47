//! `[log]`: what is logged and how it looks.

use serde::{Deserialize, Deserializer};
use tracing_subscriber::EnvFilter;

use super::scalar::read;

/// How a service logs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// A level, or filter directives such as `info,list_api=debug`.
    #[serde(deserialize_with = "level")]
    pub level: String,
    /// How a line looks.
    #[serde(deserialize_with = "format")]
    pub format: LogFormat,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// For machines: one JSON object per line.
    Json,
}

fn level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    const ALLOWED: &str =
        "off, error, warn, info, debug or trace, or directives such as info,list_api=debug";
    read(deserializer, ALLOWED, |value| {
        let text = value.as_text()?;
        let sound = text.split(',').all(is_directive) && EnvFilter::try_new(text).is_ok();
        sound.then(|| text.to_owned())
    })
}

/// A bare word that is no level would be taken for a target at the finest level: a typo must not do that.
fn is_directive(text: &str) -> bool {
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    text.contains('=') || levels.iter().any(|level| level.eq_ignore_ascii_case(text))
}

fn format<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LogFormat, D::Error> {
    read(deserializer, "pretty or json", |value| match value.as_text()? {
        "pretty" => Some(LogFormat::Pretty),
        "json" => Some(LogFormat::Json),
        _ => None,
    })
}
