//! Whole numbers.

use std::num::NonZeroU32;

use serde::{Deserializer, de::Error};

use super::{Scalar, parse_scalar};

const THREADS_MAX: u64 = 1024;

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

/// Parses a number of threads; 0 means one per core.
pub(crate) fn threads<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    parse_scalar(deserializer, "a whole number from 0 to 1024", |value| {
        as_whole(value).filter(|&n| n <= THREADS_MAX).and_then(|n| usize::try_from(n).ok())
    })
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
