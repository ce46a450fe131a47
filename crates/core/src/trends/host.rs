//! Hosts and their pages.

use std::{borrow::Borrow, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    input::{checked_text, has_chars},
    limits,
};

/// The name of a host, in lowercase, because host names are case-insensitive.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Host(String);

impl Host {
    /// The rule, worded to follow the field's name.
    pub const RULE: &str = "must be 1 to 253 characters of A-Z a-z 0-9 . - _ :";

    /// Converts a text to lowercase and validates it. The error is the violated rule.
    pub fn parse(text: impl Into<String>) -> Result<Self, &'static str> {
        let mut text = text.into();
        text.make_ascii_lowercase();
        let is_valid = (1..=limits::HOST_CHARS_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte));
        if is_valid { Ok(Self(text)) } else { Err(Self::RULE) }
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Host {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        Self::parse(text)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Borrow<str> for Host {
    fn borrow(&self) -> &str {
        &self.0
    }
}

checked_text!(
    /// The path of a page, which identifies the page within its host.
    PagePath,
    "must be 1 to 1024 characters without control characters",
    |text| has_chars(text, limits::PATH_CHARS_MAX) && !text.chars().any(char::is_control)
);

checked_text!(
    /// The title of a page.
    PageTitle,
    "must be 1 to 256 characters without control characters",
    |text| has_chars(text, limits::TITLE_CHARS_MAX) && !text.chars().any(char::is_control)
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_is_case_insensitive() {
        assert_eq!(Host::parse("Example.ORG:8080"), Host::parse("example.org:8080"));
        for wrong in ["", "a b", "a/b", "ä.org", &"a".repeat(254)] {
            assert_eq!(Host::parse(wrong), Err(Host::RULE), "{wrong:?}");
        }
    }
}
