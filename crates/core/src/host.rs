//! A host and its pages, by the names that its site gives them.

use std::{borrow::Borrow, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    field::{checked_text, has_chars},
    limits,
};

/// A host, in small letters: case does not matter in its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Host(String);

impl Host {
    /// The rule, as a sentence that follows the field's name.
    pub const RULE: &str = "must be 1 to 253 of A-Z a-z 0-9 . - _ :";

    /// Checks a text; the error is the rule that it breaks.
    pub fn parse(text: impl Into<String>) -> Result<Self, &'static str> {
        let mut text = text.into();
        text.make_ascii_lowercase();
        let is_sound = (1..=limits::HOST_CHARS_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte));
        if is_sound { Ok(Self(text)) } else { Err(Self::RULE) }
    }

    /// The name itself.
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
    /// A page of a host: what tells it from all others there. Two pages may have one title.
    PagePath,
    "must be 1 to 1024 characters without control characters",
    |text| has_chars(text, limits::PATH_CHARS_MAX) && !text.chars().any(char::is_control)
);

checked_text!(
    /// What a page is called.
    PageTitle,
    "must be 1 to 256 characters without control characters",
    |text| has_chars(text, limits::TITLE_CHARS_MAX) && !text.chars().any(char::is_control)
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_the_same_in_capitals() {
        assert_eq!(Host::parse("Example.ORG:8080"), Host::parse("example.org:8080"));
        for wrong in ["", "a b", "a/b", "ä.org", &"a".repeat(254)] {
            assert_eq!(Host::parse(wrong), Err(Host::RULE), "{wrong:?}");
        }
    }
}
