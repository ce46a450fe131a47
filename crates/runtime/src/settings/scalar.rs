//! One value as it comes from a layer: TOML has types, the environment has text.

use serde::de::{Deserialize, Deserializer, Error};

/// A value before it is read as what its key wants.
#[derive(Debug, serde::Deserialize)]
#[serde(untagged)]
pub(super) enum Scalar {
    /// `on`/`off` as TOML knows them.
    Switch(bool),
    /// A number without a unit.
    Whole(u64),
    /// Text, and everything from the environment.
    Text(String),
    /// An array of TOML.
    List(Vec<String>),
    /// Anything else, which no key wants.
    Other(serde::de::IgnoredAny),
}

impl Scalar {
    /// Gives the text, if it is one.
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// Gives the items of a list, which the environment separates by commas.
    pub(super) fn as_list(&self) -> Option<Vec<&str>> {
        match self {
            Self::List(list) => Some(list.iter().map(String::as_str).collect()),
            Self::Text(text) if text.trim().is_empty() => Some(Vec::new()),
            Self::Text(text) => Some(text.split(',').map(str::trim).collect()),
            _ => None,
        }
    }
}

/// Reads a value with `parse`; the error says what would have been allowed.
pub(super) fn read<'de, D, T>(
    deserializer: D,
    allowed: &str,
    parse: impl FnOnce(&Scalar) -> Option<T>,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
{
    let scalar = Scalar::deserialize(deserializer)?;
    parse(&scalar).ok_or_else(|| D::Error::custom(allowed))
}
