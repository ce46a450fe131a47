//! The position of a subscriber in the stream `messages`.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Serialize, Serializer};

use super::EntryId;

/// The maximum length of a position, in characters.
pub const POSITION_CHARS_MAX: usize = 256;
/// The maximum length of an epoch, in characters.
const EPOCH_CHARS_MAX: usize = 64;

/// A position in the stream: an epoch, and the entry after which delivery continues. A new epoch
/// begins after Redis has lost data.
///
/// A position is opaque to clients. The text form needs no escaping in a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The epoch of the entries after the position.
    pub epoch: Arc<str>,
    /// The last entry before the position. This entry is not delivered when the subscriber resumes.
    pub entry: EntryId,
}

/// The error for a text that is not a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a position issued by this service")]
pub struct InvalidPosition;

impl Position {
    /// Returns the position after an entry.
    pub fn new(epoch: impl Into<Arc<str>>, entry: EntryId) -> Self {
        Self { epoch: epoch.into(), entry }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "1.{}.{}", self.epoch, self.entry)
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        if text.len() > POSITION_CHARS_MAX {
            return Err(InvalidPosition);
        }
        let rest = text.strip_prefix("1.").ok_or(InvalidPosition)?;
        let (epoch, entry) = rest.split_once('.').ok_or(InvalidPosition)?;
        let is_epoch_valid = (1..=EPOCH_CHARS_MAX).contains(&epoch.len())
            && epoch.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let entry = entry.parse().map_err(|_| InvalidPosition)?;
        let position = is_epoch_valid.then(|| Self::new(epoch, entry)).ok_or(InvalidPosition)?;
        // Accept only the canonical form: no leading zeros.
        if position.to_string() == text { Ok(position) } else { Err(InvalidPosition) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn position_round_trips_and_is_url_safe(
            epoch in "[a-f0-9]{32}", millis: u64, number: u64,
        ) {
            let position = Position::new(epoch, EntryId { millis, number });
            let text = position.to_string();
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
            prop_assert!(text.len() <= POSITION_CHARS_MAX && text.bytes().all(plain));
            prop_assert_eq!(text.parse::<Position>(), Ok(position));
        }

        #[test]
        fn only_the_canonical_form_is_parsed(text in "(1\\.)?[a-z0-9.]{0,8}\\.?[0-9-]{0,8}") {
            if let Ok(position) = text.parse::<Position>() {
                prop_assert_eq!(position.to_string(), text);
            }
        }
    }
}
