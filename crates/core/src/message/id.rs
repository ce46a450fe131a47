//! Message IDs: UUIDv7 (RFC 9562), which sort by the time of acceptance.

use std::{fmt, str::FromStr};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use uuid::{ContextV7, Uuid, Version};

use crate::clock::Timestamp;

/// The ID of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(Uuid);

/// The error for a text that is not a message ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a UUIDv7 such as 019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47")]
pub struct InvalidMessageId;

impl MessageId {
    /// The length of the text form, in bytes.
    pub const TEXT_BYTES: usize = 36;

    /// Returns a lower bound for the IDs generated at `at`. Every smaller ID contains an earlier
    /// timestamp.
    #[must_use]
    pub fn lower_bound(at: Timestamp) -> Self {
        let millis = u128::try_from(at.as_millis()).unwrap_or(0);
        Self(Uuid::from_u128(millis << 80))
    }

    /// Writes the text form into a buffer and returns it.
    #[must_use]
    pub fn encode(self, buffer: &mut [u8; Self::TEXT_BYTES]) -> &str {
        self.0.as_hyphenated().encode_lower(buffer)
    }

    /// Returns the ID as a UUID.
    #[must_use]
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for MessageId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl FromStr for MessageId {
    type Err = InvalidMessageId;

    /// Parses only the hyphenated form, in uppercase or lowercase.
    fn from_str(text: &str) -> Result<Self, InvalidMessageId> {
        Uuid::try_parse(text)
            .ok()
            .filter(|id| {
                text.len() == Self::TEXT_BYTES && id.get_version() == Some(Version::SortRand)
            })
            .map(Self)
            .ok_or(InvalidMessageId)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(formatter)
    }
}

/// A generator of IDs that always increase, even within one millisecond.
#[derive(Debug, Default)]
pub struct IdGenerator {
    context: Mutex<ContextV7>,
}

impl IdGenerator {
    /// Generates the next ID. The ID contains the timestamp `now`, or the timestamp of the previous
    /// ID if that is later.
    pub fn next_id(&self, now: Timestamp) -> MessageId {
        let millis = u64::try_from(now.as_millis()).unwrap_or(0);
        let (seconds, nanos) = (millis / 1_000, (millis % 1_000) as u32 * 1_000_000);
        let context = self.context.lock();
        let timestamp = uuid::Timestamp::from_unix(&*context, seconds, nanos);
        MessageId(Uuid::new_v7(timestamp))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_increase_within_one_millisecond() {
        let generator = IdGenerator::default();
        let now = Timestamp::from_millis(1_795_201_620_123);
        let ids: Vec<_> = (0..1_000).map(|_| generator.next_id(now)).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(ids.windows(2).all(|pair| pair[0].to_string() < pair[1].to_string()));
    }

    #[test]
    fn lower_bound_separates_the_ids_of_two_instants() {
        let at = |millis: i64| Timestamp::from_millis(1_795_201_620_000 + millis);
        let id = IdGenerator::default().next_id(at(5));
        assert!(MessageId::lower_bound(at(5)) <= id && id < MessageId::lower_bound(at(6)));
    }

    #[test]
    fn only_a_hyphenated_uuidv7_is_parsed() {
        let id = IdGenerator::default().next_id(Timestamp::from_millis(1));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.encode(&mut [0; MessageId::TEXT_BYTES]), id.to_string());
        let compact = id.as_uuid().simple().to_string();
        for wrong in ["", "1", &compact, "67e55044-10b1-426f-9247-bb680e5fe0c8"] {
            assert_eq!(wrong.parse::<MessageId>(), Err(InvalidMessageId), "{wrong}");
        }
    }
}
