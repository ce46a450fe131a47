//! The cursor for keyset pagination over all stored messages.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The sort order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Oldest first, in the order of persistence.
    #[default]
    Asc,
    /// Newest first, in the reverse order of persistence.
    Desc,
}

/// The last row on a page, after which the next page starts.
///
/// A cursor is opaque to clients. The text form needs no escaping in a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The sort order of the list.
    pub order: Order,
    /// The sequence number of the last row, in the order of persistence.
    pub seq: i64,
}

/// The error for a text that is not a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a cursor issued by this service")]
pub struct InvalidCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = match self.order {
            Order::Asc => 'a',
            Order::Desc => 'd',
        };
        write!(formatter, "1{order}{:x}", self.seq)
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let (order, seq) = if let Some(seq) = text.strip_prefix("1a") {
            (Order::Asc, seq)
        } else {
            (Order::Desc, text.strip_prefix("1d").ok_or(InvalidCursor)?)
        };
        let cursor = i64::from_str_radix(seq, 16)
            .map(|seq| Self { order, seq })
            .map_err(|_| InvalidCursor)?;
        // Accept only the canonical form: no signs, leading zeros or capitals.
        if cursor.to_string() == text && cursor.seq >= 0 { Ok(cursor) } else { Err(InvalidCursor) }
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn cursor_round_trips_and_is_url_safe(seq in 0..=i64::MAX, desc: bool) {
            let cursor = Cursor { order: if desc { Order::Desc } else { Order::Asc }, seq };
            let text = cursor.to_string();
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            prop_assert_eq!(text.parse::<Cursor>(), Ok(cursor));
        }

        #[test]
        fn only_the_canonical_form_is_parsed(text in ".{0,20}") {
            if let Ok(cursor) = text.parse::<Cursor>() {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }
}
