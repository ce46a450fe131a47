//! The fields of a message, each a type whose only constructor checks the rule of the contract.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits;

/// One wrong field: its name, as a client wrote it, and the rule that it breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field's name; in a batch with the item's index before it, as in `[3].text`.
    pub field: String,
    /// The rule, as a sentence that follows the name.
    pub message: String,
}

/// All wrong fields of one request, at most [`limits::FIELD_ERRORS_MAX`] of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldErrors(Vec<FieldError>);

impl FieldErrors {
    /// One wrong field.
    pub fn of(field: impl Into<String>, message: impl Into<String>) -> Self {
        let mut errors = Self::default();
        errors.push(field, message);
        errors
    }

    /// Adds a wrong field; beyond the limit it is not kept.
    pub fn push(&mut self, field: impl Into<String>, message: impl Into<String>) {
        if self.0.len() < limits::FIELD_ERRORS_MAX {
            self.0.push(FieldError { field: field.into(), message: message.into() });
        }
    }

    /// Adds the errors of one item of a batch, its index before each name.
    pub fn append_item(&mut self, index: usize, item: Self) {
        for error in item.0 {
            let field = if error.field.is_empty() {
                format!("[{index}]")
            } else {
                format!("[{index}].{}", error.field)
            };
            self.push(field, error.message);
        }
    }

    /// Whether no field is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The wrong fields in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &FieldError> {
        self.0.iter()
    }

    /// Keeps what is right, notes what is wrong.
    pub fn check<T>(&mut self, field: &str, checked: Result<T, &'static str>) -> Option<T> {
        checked.map_err(|rule| self.push(field, rule)).ok()
    }
}

impl IntoIterator for FieldErrors {
    type Item = FieldError;
    type IntoIter = std::vec::IntoIter<FieldError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Makes a newtype over a checked string.
macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
        )]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl TryFrom<String> for $name {
            type Error = &'static str;

            fn try_from(text: String) -> Result<Self, &'static str> {
                Self::parse(text)
            }
        }

        impl $name {
            /// The rule, as a sentence that follows the field's name.
            pub const RULE: &str = $rule;

            /// Checks a text; the error is the rule that it breaks.
            pub fn parse(text: impl Into<String>) -> Result<Self, &'static str> {
                let text = text.into();
                let check: fn(&str) -> bool = $check;
                if check(&text) { Ok(Self(text)) } else { Err(Self::RULE) }
            }

            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl ::std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

pub(crate) use checked_text;

checked_text!(
    /// A name that messages are published on; [`Channel::default`] is `lobby`.
    Channel,
    "must be 1 to 64 of A-Z a-z 0-9 . _ : -",
    |text| (1..=limits::CHANNEL_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte))
);

impl Channel {
    /// The channel of what comes in by `POST /dummy`.
    #[must_use]
    pub fn dummy() -> Self {
        Self("dummy".into())
    }
}

impl Default for Channel {
    fn default() -> Self {
        Self("lobby".into())
    }
}

checked_text!(
    /// Who wrote a message, and whose inbox it lies in. Case and blanks matter.
    Username,
    "must be 1 to 200 characters without control characters",
    |text| has_chars(text, limits::USERNAME_CHARS_MAX) && !text.chars().any(char::is_control)
);

checked_text!(
    /// What a message says.
    Text,
    "must be 1 to 4096 characters without U+0000",
    |text| has_chars(text, limits::TEXT_CHARS_MAX) && !text.contains('\0')
);

checked_text!(
    /// A city or a state.
    Place,
    "must be 1 to 64 characters without U+0000",
    |text| has_chars(text, limits::PLACE_CHARS_MAX) && !text.contains('\0')
);

/// Whether a text has 1 to `chars_max` characters; counts them only where the bytes leave it open.
pub(crate) fn has_chars(text: &str, chars_max: usize) -> bool {
    !text.is_empty()
        && (text.len() <= chars_max
            || (text.len() <= chars_max * 4 && text.chars().count() <= chars_max))
}

/// How long a message lives, in whole seconds. Zero: delivered live and stored, born expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ttl(Duration);

impl Ttl {
    /// The rule, as a sentence that follows the field's name.
    pub const RULE: &str = "must be a whole number of seconds from 0 to 604800";

    /// Checks a number of seconds, which in JSON is the same as `60` and as `60.0`; never clamps.
    pub fn from_secs(seconds: f64) -> Result<Self, &'static str> {
        Duration::try_from_secs_f64(seconds)
            .ok()
            .filter(|ttl| seconds.fract() == 0.0 && *ttl <= limits::TTL_MAX)
            .map(Self)
            .ok_or(Self::RULE)
    }

    /// The time to live as a duration.
    #[must_use]
    pub const fn as_duration(self) -> Duration {
        self.0
    }
}

impl Default for Ttl {
    fn default() -> Self {
        Self(limits::TTL_DEFAULT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_1_to_64_of_its_alphabet() {
        assert!(Channel::parse("a.b_C:9-").is_ok());
        assert!(Channel::parse("a".repeat(64)).is_ok());
        for wrong in ["", &"a".repeat(65), "a b", "ä", "a/b", "a\n"] {
            assert_eq!(Channel::parse(wrong), Err(Channel::RULE), "{wrong:?}");
        }
    }

    #[test]
    fn a_username_is_1_to_200_characters_without_control_characters_and_case_matters() {
        assert!(Username::parse("ü".repeat(200)).is_ok());
        assert_ne!(Username::parse("Fred"), Username::parse("fred"));
        for wrong in ["", &"ü".repeat(201), "a\tb", "a\u{7f}", "\0"] {
            assert_eq!(Username::parse(wrong), Err(Username::RULE), "{wrong:?}");
        }
    }

    #[test]
    fn a_text_is_1_to_4096_characters() {
        assert!(Text::parse("🦋".repeat(4_096)).is_ok());
        assert!(Text::parse("line\nline").is_ok());
        for wrong in ["", &"🦋".repeat(4_097), "a\0"] {
            assert!(Text::parse(wrong).is_err());
        }
    }

    #[test]
    fn a_ttl_out_of_range_is_refused_and_never_clamped() {
        assert!(Ttl::from_secs(0.0).is_ok());
        assert!(Ttl::from_secs(604_800.0).is_ok());
        for wrong in [604_801.0, 604_800.5, -1.0, 1e-10, 1e300, f64::NAN] {
            assert_eq!(Ttl::from_secs(wrong), Err(Ttl::RULE), "{wrong}");
        }
        assert_eq!(Ttl::default().as_duration(), Duration::from_secs(60));
    }
}
