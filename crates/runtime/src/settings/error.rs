//! Errors in the configuration, each described in one line.

use std::fmt;

/// An invalid configuration: the key, its value, and the valid values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    pub(super) source: Source,
    pub(super) value: Option<String>,
    pub(super) message: String,
}

/// The source of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// An environment variable.
    Env(String),
    /// An environment variable that contains the path of a file. The path is not a secret.
    EnvFile(String),
    /// A key in a file, and the name of the file.
    File(String, String),
    /// The default of a key that is not set.
    Default(String),
}

/// The parts of names, also of unknown ones, whose values can be secrets.
const SECRET_NAMES: [&str; 8] =
    ["url", "secret", "pass", "pwd", "token", "key", "credential", "dsn"];

/// The maximum number of characters of a value in an error message.
const SHOWN_CHARS_MAX: usize = 100;

impl SettingsError {
    pub(super) fn new(source: Source, value: Option<&str>, message: impl Into<String>) -> Self {
        let value = value.map(|value| display_value(&source, value));
        Self { source, value, message: message.into() }
    }
}

impl std::error::Error for SettingsError {}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.as_ref().map(|value| format!("={value}")).unwrap_or_default();
        match &self.source {
            Source::Env(name) | Source::EnvFile(name) => {
                write!(f, "{}{value}", name.escape_debug())?;
            }
            Source::File(key, file) => {
                write!(f, "{}{value} in {}", key.escape_debug(), file.escape_debug())?;
            }
            Source::Default(key) => write!(f, "{key}{value} (the default)")?,
        }
        write!(f, ": {}", self.message.replace(['\n', '\r'], " "))
    }
}

/// Formats a value for one line. A value that may contain a secret is redacted.
fn display_value(source: &Source, value: &str) -> String {
    let (Source::Env(name) | Source::EnvFile(name) | Source::File(name, _) | Source::Default(name)) =
        source;
    let name = name.to_ascii_lowercase();
    // A value without a slash can be a secret that was set instead of the path of its file.
    let is_path = value.contains('/') && !value.contains("://");
    let names_file = matches!(source, Source::EnvFile(_)) || name.ends_with("secret_file");
    let is_secret = SECRET_NAMES.iter().any(|part| name.contains(part)) && !(names_file && is_path);
    if (is_secret && !name.contains("public")) || value.contains('@') {
        return "<redacted>".to_owned();
    }
    let shown: String = value.chars().take(SHOWN_CHARS_MAX).collect();
    let ellipsis = if shown.len() < value.len() { "…" } else { "" };
    format!("\"{}{ellipsis}\"", shown.escape_debug())
}
