//! The IDs that Redis assigns to stream entries.

use std::{fmt, str::FromStr};

/// The ID of a stream entry: the time in milliseconds when Redis added the entry, and a sequence
/// number within that millisecond. The IDs in a stream increase monotonically until Redis loses
/// data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// Milliseconds since the Unix epoch.
    pub millis: u64,
    /// The sequence number within the millisecond.
    pub number: u64,
}

impl EntryId {
    /// The smallest ID, before the first entry of a stream.
    pub const START: Self = Self { millis: 0, number: 0 };

    /// Returns the greatest possible ID that is less than this ID. The predecessor of
    /// [`Self::START`] is [`Self::START`].
    #[must_use]
    pub const fn predecessor(self) -> Self {
        match (self.millis, self.number) {
            (0, 0) => self,
            (millis, 0) => Self { millis: millis - 1, number: u64::MAX },
            (millis, number) => Self { millis, number: number - 1 },
        }
    }
}

/// The error for a text that is not a stream entry ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a stream entry ID")]
pub struct InvalidEntryId;

impl fmt::Display for EntryId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.millis, self.number)
    }
}

impl FromStr for EntryId {
    type Err = InvalidEntryId;

    fn from_str(text: &str) -> Result<Self, InvalidEntryId> {
        let (millis, number) = text.split_once('-').ok_or(InvalidEntryId)?;
        let parse = |digits: &str| {
            // `parse` alone would accept a plus sign.
            let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            is_plain.then(|| digits.parse().ok()).flatten().ok_or(InvalidEntryId)
        };
        Ok(Self { millis: parse(millis)?, number: parse(number)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_number() {
        let id = |text: &str| text.parse::<EntryId>().expect("it is an id");
        assert!(id("9-1") < id("10-0"));
        assert!(id("10-2") < id("10-10"));
        assert_eq!(id("10-2").to_string(), "10-2");
        assert_eq!(id("10-2").predecessor(), id("10-1"));
        assert!(id("9-9") < id("10-0").predecessor() && id("10-0").predecessor() < id("10-0"));
        assert_eq!(EntryId::START.predecessor(), EntryId::START);
        for wrong in ["", "1", "1-", "-1", "+1-1", "1-1-1", "x-1", "1-99999999999999999999"] {
            assert_eq!(wrong.parse::<EntryId>(), Err(InvalidEntryId), "{wrong}");
        }
    }
}
