//! Conversion between [`Timestamp`] and Postgres timestamps, and of durations.

use std::time::Duration;

use diesel::data_types::PgTimestamp;
use mayfly_core::Timestamp;

/// The milliseconds from the Unix epoch to 2000-01-01, the Postgres epoch.
const POSTGRES_EPOCH_MILLIS: i64 = 946_684_800_000;

pub(crate) fn from_pg(at: PgTimestamp) -> Timestamp {
    Timestamp::from_millis(at.0.div_euclid(1_000) + POSTGRES_EPOCH_MILLIS)
}

pub(crate) fn to_pg(at: Timestamp) -> PgTimestamp {
    PgTimestamp(at.as_millis().saturating_sub(POSTGRES_EPOCH_MILLIS).saturating_mul(1_000))
}

/// Returns a duration in milliseconds.
pub(crate) fn to_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamp_round_trips() {
        for millis in [0, 946_684_799_999, 1_795_201_620_123] {
            let at = Timestamp::from_millis(millis);
            assert_eq!(from_pg(to_pg(at)), at);
        }
    }

    #[test]
    fn timestamp_that_postgres_cannot_store_does_not_overflow() {
        for (millis, micros) in [(i64::MIN, i64::MIN), (i64::MAX, i64::MAX)] {
            assert_eq!(to_pg(Timestamp::from_millis(millis)).0, micros);
        }
    }
}
