//! The id of an entry of a stream, as Redis gives it.

use std::{fmt, str::FromStr};

/// The id of an entry: milliseconds of its arrival by the clock of Redis, and a number among those
/// of that millisecond. Ids of one stream rise, as long as it keeps its past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// Milliseconds since the Unix epoch.
    pub millis: u64,
    /// The number within the millisecond.
    pub number: u64,
}

impl EntryId {
    /// The point before the first entry of a stream.
    pub const START: Self = Self { millis: 0, number: 0 };

    /// The point right before this one; the start has none, and stays.
    #[must_use]
    pub const fn before(self) -> Self {
        match (self.millis, self.number) {
            (0, 0) => self,
            (millis, 0) => Self { millis: millis - 1, number: u64::MAX },
            (millis, number) => Self { millis, number: number - 1 },
        }
    }
}

/// A text is no id of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no id of an entry")]
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
            // `parse` alone would take a plus.
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse().ok()).flatten().ok_or(InvalidEntryId)
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
        assert_eq!(id("10-2").before(), id("10-1"));
        assert!(id("9-9") < id("10-0").before() && id("10-0").before() < id("10-0"));
        assert_eq!(EntryId::START.before(), EntryId::START);
        for wrong in ["", "1", "1-", "-1", "+1-1", "1-1-1", "x-1", "1-99999999999999999999"] {
            assert_eq!(wrong.parse::<EntryId>(), Err(InvalidEntryId), "{wrong}");
        }
    }
}
