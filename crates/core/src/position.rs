//! Where a subscriber stands in the stream.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Serialize, Serializer};

use crate::entry_id::EntryId;

/// Characters of the longest position that is looked at.
pub const POSITION_CHARS_MAX: usize = 256;
/// Characters of the longest name of an epoch.
const EPOCH_CHARS_MAX: usize = 64;

/// Where a subscriber stands: everything up to and with this entry, in this epoch, is behind it.
///
/// Clients hand it back as it is. It is written with letters that need no escape in a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The past of Redis that the entry belongs to.
    pub epoch: Arc<str>,
    /// The last entry behind the subscriber.
    pub entry: EntryId,
}

/// A text is no position of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a position that this service gave out")]
pub struct InvalidPosition;

impl Position {
    /// Makes a position.
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
        let sound = (1..=EPOCH_CHARS_MAX).contains(&epoch.len())
            && epoch.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let entry = entry.parse().map_err(|_| InvalidPosition)?;
        let position = sound.then(|| Self::new(epoch, entry)).ok_or(InvalidPosition)?;
        // Only what we would write ourselves: no zeros in front.
        if position.to_string() == text { Ok(position) } else { Err(InvalidPosition) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_position_is_read_back_and_goes_into_a_url_as_it_is(
            epoch in "[a-f0-9]{32}", millis: u64, number: u64,
        ) {
            let position = Position::new(epoch, EntryId { millis, number });
            let text = position.to_string();
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
            prop_assert!(text.len() <= POSITION_CHARS_MAX && text.bytes().all(plain));
            prop_assert_eq!(text.parse::<Position>(), Ok(position));
        }

        #[test]
        fn what_was_not_given_out_is_refused(text in "(1\\.)?[a-z0-9.]{0,8}\\.?[0-9-]{0,8}") {
            if let Ok(position) = text.parse::<Position>() {
                prop_assert_eq!(position.to_string(), text);
            }
        }
    }
}
