//! Timestamps and clocks. Code reads the time from a [`Clock`] that its caller passes in, so that
//! tests can control the time.

mod synchronized;

use std::{fmt, ops::Range, str::FromStr, sync::Arc};

use chrono::{DateTime, Datelike, SecondsFormat, Timelike, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use self::synchronized::SynchronizedClock;

/// An instant in UTC, in whole milliseconds since the Unix epoch.
///
/// Serialized as RFC 3339 with exactly three decimals and `Z`. The text has a fixed width for the
/// years 0 to 9999, so texts sort in the order of their instants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The length of the text form, such as `2026-11-20T19:07:00.123Z`, in bytes.
    pub const TEXT_BYTES: usize = 24;

    /// Returns the timestamp for a number of milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Returns the instant `duration` later; saturates instead of overflowing.
    #[must_use]
    pub fn plus(self, duration: std::time::Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// Returns the instant `duration` earlier; saturates instead of overflowing.
    #[must_use]
    pub fn minus(self, duration: std::time::Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(millis))
    }

    /// Returns the hour of the day in UTC, 0 to 23.
    #[must_use]
    pub fn hour_of_day(self) -> u8 {
        u8::try_from(self.to_datetime().hour()).unwrap_or_default()
    }

    /// Returns the time elapsed since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> std::time::Duration {
        let millis = self.0.saturating_sub(earlier.0);
        std::time::Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }

    fn to_datetime(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// Calls `write` with the text. Every message contains two timestamps, so the text is written
    /// without the formatting machinery of chrono.
    fn write_text<T>(self, write: impl FnOnce(&str) -> T) -> T {
        let at = self.to_datetime();
        let Ok(year @ ..=9_999) = u32::try_from(at.year()) else {
            return write(&at.to_rfc3339_opts(SecondsFormat::Millis, true));
        };
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let mut put = |place: Range<usize>, mut number: u32| {
            for digit in text[place].iter_mut().rev() {
                *digit = b"0123456789"[(number % 10) as usize];
                number /= 10;
            }
        };
        put(0..4, year);
        put(5..7, at.month());
        put(8..10, at.day());
        put(11..13, at.hour());
        put(14..16, at.minute());
        put(17..19, at.second());
        put(20..23, at.timestamp_subsec_millis());
        write(std::str::from_utf8(&text).expect("invariant: digits and separators are ASCII"))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_text(|text| formatter.write_str(text))
    }
}

impl FromStr for Timestamp {
    type Err = &'static str;

    /// Parses an RFC 3339 timestamp with any offset.
    fn from_str(text: &str) -> Result<Self, &'static str> {
        DateTime::parse_from_rfc3339(text)
            .map(|at| Self(at.timestamp_millis()))
            .map_err(|_| "must be an RFC 3339 timestamp such as 2026-11-20T19:07:00Z")
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(at: DateTime<Utc>) -> Self {
        Self(at.timestamp_millis())
    }
}

impl From<Timestamp> for DateTime<Utc> {
    fn from(at: Timestamp) -> Self {
        at.to_datetime()
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.write_text(|text| serializer.serialize_str(text))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// A source of the current time.
pub trait Clock: Send + Sync {
    /// Returns the current time.
    fn now(&self) -> Timestamp;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

/// The system clock. Services use this clock only within [`SynchronizedClock`], because decisions
/// about expiry, trimming and schedules use the clock of Redis or Postgres, which all processes
/// share.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this type is the system clock")]
    fn now(&self) -> Timestamp {
        Timestamp(Utc::now().timestamp_millis())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn timestamp_is_written_with_milliseconds_and_z() {
        let at = Timestamp::from_millis(1_795_201_620_123);
        assert_eq!(at.to_string(), "2026-11-20T19:07:00.123Z");
        assert_eq!(at.to_string().len(), Timestamp::TEXT_BYTES);
    }

    proptest! {
        #[test]
        fn text_is_the_one_of_chrono(millis in -70_000_000_000_000_i64..300_000_000_000_000) {
            let at = Timestamp::from_millis(millis);
            let expected = at.to_datetime().to_rfc3339_opts(SecondsFormat::Millis, true);
            prop_assert_eq!(at.to_string(), expected);
        }
    }

    #[test]
    fn timestamp_is_parsed_with_any_offset() {
        let at: Timestamp = "2026-11-20T21:07:00.123+02:00".parse().expect("a time");
        assert_eq!(at.to_string(), "2026-11-20T19:07:00.123Z");
        assert_eq!(
            (at.hour_of_day(), at.minus(std::time::Duration::from_secs(28_800)).hour_of_day()),
            (19, 11)
        );
        for wrong in ["", "2026-11-20", "2026-11-20T21:07:00", "now"] {
            assert!(wrong.parse::<Timestamp>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn timestamp_round_trips() {
        let at = Timestamp::from_millis(1_795_201_620_000);
        let json = serde_json::to_string(&at).expect("it serializes");
        assert_eq!(json, r#""2026-11-20T19:07:00.000Z""#);
        assert_eq!(serde_json::from_str::<Timestamp>(&json).expect("it parses"), at);
    }
}
