//! Values before they are converted to the types of their keys. TOML values have types, while
//! environment variables are text.

use serde::de::{Deserialize, Deserializer, Error};

/// A value before it is converted to the type of its key.
#[derive(Debug, serde::Deserialize)]
#[serde(untagged)]
pub(crate) enum Scalar {
    /// A TOML boolean.
    Switch(bool),
    /// A number without a unit.
    Whole(u64),
    /// Text. All environment variables are text.
    Text(String),
    /// A TOML array of strings.
    List(Vec<String>),
    /// Any other type, which no key accepts.
    Other(serde::de::IgnoredAny),
}

impl Scalar {
    /// Returns the text if the value is text.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// Returns the items of a list. In the environment, commas separate the items.
    pub(crate) fn as_list(&self) -> Option<Vec<&str>> {
        match self {
            Self::List(list) => Some(list.iter().map(String::as_str).collect()),
            Self::Text(text) if text.trim().is_empty() => Some(Vec::new()),
            Self::Text(text) => Some(text.split(',').map(str::trim).collect()),
            _ => None,
        }
    }
}

/// Parses a value with `parse`. The error message is `allowed`, a description of valid values.
pub(crate) fn parse_scalar<'de, D, T>(
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
