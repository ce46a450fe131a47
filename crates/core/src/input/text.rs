//! Newtypes for validated strings.

/// Defines a string newtype with public constructors that check a rule.
macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, ::serde::Serialize,
            ::serde::Deserialize,
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
            /// The rule, worded to follow the field's name.
            pub const RULE: &str = $rule;

            /// Validates a text. The error is the violated rule.
            pub fn parse(text: impl Into<String>) -> Result<Self, &'static str> {
                let text = text.into();
                let check: fn(&str) -> bool = $check;
                if check(&text) { Ok(Self(text)) } else { Err(Self::RULE) }
            }

            /// Returns the text.
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

/// Returns whether a text has 1 to `chars_max` characters. Counts the characters only if the length
/// in bytes is inconclusive.
pub(crate) fn has_chars(text: &str, chars_max: usize) -> bool {
    !text.is_empty()
        && (text.len() <= chars_max
            || (text.len() <= chars_max * 4 && text.chars().count() <= chars_max))
}
