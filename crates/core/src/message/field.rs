//! The fields of a message: newtypes that contain only valid values.

use std::time::Duration;

use crate::{
    input::{checked_text, has_chars},
    limits,
};

checked_text!(
    /// The channel that a message is published on; [`Channel::default`] is `lobby`.
    Channel,
    "must be 1 to 64 characters of A-Z a-z 0-9 . _ : -",
    |text| (1..=limits::CHANNEL_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte))
);

impl Channel {
    /// Returns the channel for messages sent with `POST /dummy`.
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
    /// The author of a message and the owner of the inbox that contains the message. Case and
    /// whitespace are significant.
    Username,
    "must be 1 to 200 characters without control characters",
    |text| has_chars(text, limits::USERNAME_CHARS_MAX) && !text.chars().any(char::is_control)
);

checked_text!(
    /// The text of a message.
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

/// The time to live of a message, in whole seconds. A message with a TTL of zero is delivered live
/// and stored, but is already expired when it is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ttl(Duration);

impl Ttl {
    /// The rule, worded to follow the field's name.
    pub const RULE: &str = "must be a whole number of seconds from 0 to 604800";

    /// Validates a number of seconds. The number is a float because `60` and `60.0` are the same
    /// number in JSON. A value out of range is rejected, not clamped.
    pub fn from_secs(seconds: f64) -> Result<Self, &'static str> {
        Duration::try_from_secs_f64(seconds)
            .ok()
            .filter(|ttl| seconds.fract() == 0.0 && *ttl <= limits::TTL_MAX)
            .map(Self)
            .ok_or(Self::RULE)
    }

    /// Returns the time to live as a duration.
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
    fn channel_has_1_to_64_allowed_characters() {
        assert!(Channel::parse("a.b_C:9-").is_ok());
        assert!(Channel::parse("a".repeat(64)).is_ok());
        for wrong in ["", &"a".repeat(65), "a b", "ä", "a/b", "a\n"] {
            assert_eq!(Channel::parse(wrong), Err(Channel::RULE), "{wrong:?}");
        }
    }

    #[test]
    fn username_is_case_sensitive_and_has_1_to_200_characters_without_control_characters() {
        assert!(Username::parse("ü".repeat(200)).is_ok());
        assert_ne!(Username::parse("Fred"), Username::parse("fred"));
        for wrong in ["", &"ü".repeat(201), "a\tb", "a\u{7f}", "\0"] {
            assert_eq!(Username::parse(wrong), Err(Username::RULE), "{wrong:?}");
        }
    }

    #[test]
    fn text_has_1_to_4096_characters() {
        assert!(Text::parse("🦋".repeat(4_096)).is_ok());
        assert!(Text::parse("line\nline").is_ok());
        for wrong in ["", &"🦋".repeat(4_097), "a\0"] {
            assert!(Text::parse(wrong).is_err());
        }
    }

    #[test]
    fn ttl_out_of_range_is_rejected_and_never_clamped() {
        assert!(Ttl::from_secs(0.0).is_ok());
        assert!(Ttl::from_secs(604_800.0).is_ok());
        for wrong in [604_801.0, 604_800.5, -1.0, 1e-10, 1e300, f64::NAN] {
            assert_eq!(Ttl::from_secs(wrong), Err(Ttl::RULE), "{wrong}");
        }
        assert_eq!(Ttl::default().as_duration(), Duration::from_secs(60));
    }
}
