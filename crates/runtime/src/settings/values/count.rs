//! Whole numbers. Numbers of resources that a process allocates at startup have upper limits.

use std::{num::NonZeroU32, ops::RangeInclusive};

use serde::{Deserializer, de::Error};

use super::{Scalar, parse_scalar};

/// The maximum number of server threads.
const THREADS_MAX: u64 = 512;
/// The maximum size of a connection pool.
const CONNECTIONS_MAX: u64 = 10_000;
/// The maximum number of concurrent tasks.
const TASKS_MAX: u64 = 1024;
/// The maximum length of a queue.
const QUEUE_LENGTH_MAX: u64 = 100_000_000;

/// Parses a whole number above 0.
pub(crate) fn positive<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    const ALLOWED: &str = "a whole number above 0";
    let number = parse_scalar(deserializer, ALLOWED, |value| as_whole(value).filter(|&n| n > 0))?;
    T::try_from(number).map_err(|_| D::Error::custom(ALLOWED))
}

/// Parses the size of the connection pool of a server thread, at least 8. The batchers of
/// ingest-api occupy up to six connections, and other calls need a free connection.
pub(crate) fn pooled_connections<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<usize, D::Error> {
    from_range(deserializer, "a whole number from 8 to 10000", 8..=CONNECTIONS_MAX)
}

/// Parses the size of a connection pool.
pub(crate) fn connections<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    from_1_to(deserializer, CONNECTIONS_MAX)
}

/// Parses a number of concurrent tasks.
pub(crate) fn tasks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    from_1_to(deserializer, TASKS_MAX)
}

/// Parses the length of a queue.
pub(crate) fn queue_length<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    from_1_to(deserializer, QUEUE_LENGTH_MAX)
}

fn from_1_to<'de, D: Deserializer<'de>>(deserializer: D, max: u64) -> Result<usize, D::Error> {
    from_range(deserializer, &format!("a whole number above 0, at most {max}"), 1..=max)
}

fn from_range<'de, D: Deserializer<'de>>(
    deserializer: D,
    allowed: &str,
    range: RangeInclusive<u64>,
) -> Result<usize, D::Error> {
    parse_scalar(deserializer, allowed, |value| {
        as_whole(value)
            .filter(|number| range.contains(number))
            .and_then(|number| usize::try_from(number).ok())
    })
}

/// Parses a number of threads; 0 means one per core.
pub(crate) fn threads<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    from_range(deserializer, "a whole number from 0 to 512", 0..=THREADS_MAX)
}

/// Parses a whole number above 0, or `off`.
pub(crate) fn positive_or_off<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<NonZeroU32>, D::Error> {
    parse_scalar(deserializer, "off, or a whole number above 0", |value| match value {
        Scalar::Switch(false) => Some(None),
        Scalar::Text(text) if text == "off" => Some(None),
        _ => {
            as_whole(value).and_then(|n| u32::try_from(n).ok()).and_then(NonZeroU32::new).map(Some)
        }
    })
}

fn as_whole(value: &Scalar) -> Option<u64> {
    match value {
        Scalar::Whole(number) => Some(*number),
        Scalar::Text(text) if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    }
}
