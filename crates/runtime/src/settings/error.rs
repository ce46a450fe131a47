//! What is wrong with a configuration, in one line.

use std::fmt;

/// Why the configuration cannot be used: the key, its value, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    pub(super) source: Source,
    pub(super) value: Option<String>,
    pub(super) wrong: String,
}

/// Where a value comes from, named as its author would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// A variable of the environment.
    Env(String),
    /// A key of the file, and the file.
    File(String, String),
    /// A key nobody set.
    Default(String),
}

const SHOWN_CHARS_MAX: usize = 100;

impl SettingsError {
    pub(super) fn new(source: Source, value: Option<&str>, wrong: impl Into<String>) -> Self {
        let value = value.map(|value| show(&source, value));
        Self { source, value, wrong: wrong.into() }
    }
}

impl std::error::Error for SettingsError {}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.as_ref().map(|value| format!("={value}")).unwrap_or_default();
        match &self.source {
            Source::Env(name) => write!(f, "{}{value}", name.escape_debug())?,
            Source::File(key, file) => {
                write!(f, "{}{value} in {}", key.escape_debug(), file.escape_debug())?;
            }
            Source::Default(key) => write!(f, "{key}{value} (the default)")?,
        }
        write!(f, ": {}", self.wrong.replace(['\n', '\r'], " "))
    }
}

/// Shows a value in one line, and never one that could hold a secret.
fn show(source: &Source, value: &str) -> String {
    let (Source::Env(name) | Source::File(name, _) | Source::Default(name)) = source;
    let name = name.to_ascii_lowercase();
    let secret =
        ["url", "secret", "password", "token", "key"].iter().any(|part| name.contains(part));
    if (secret && !name.contains("public")) || value.contains('@') {
        return "<redacted>".to_owned();
    }
    let short: String = value.chars().take(SHOWN_CHARS_MAX).collect();
    let more = if short.len() < value.len() { "…" } else { "" };
    format!("\"{}{more}\"", short.escape_debug())
}
