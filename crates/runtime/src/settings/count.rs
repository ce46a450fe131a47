//! Whole numbers, and the one that can be switched off.

use std::num::NonZeroU32;

use serde::{Deserializer, de::Error};

use super::scalar::{Scalar, read};

const THREADS_MAX: u64 = 1024;

/// Reads a whole number above zero.
pub(super) fn positive<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    const ALLOWED: &str = "a whole number above 0";
    let number = read(deserializer, ALLOWED, |value| whole(value).filter(|&n| n > 0))?;
    T::try_from(number).map_err(|_| D::Error::custom(ALLOWED))
}

/// Reads a number of threads, where 0 is one per core.
pub(super) fn threads<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    read(deserializer, "a whole number from 0 to 1024", |value| {
        whole(value).filter(|&n| n <= THREADS_MAX).and_then(|n| usize::try_from(n).ok())
    })
}

/// Reads a whole number above zero, or `off`.
pub(super) fn positive_or_off<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<NonZeroU32>, D::Error> {
    read(deserializer, "off, or a whole number above 0", |value| match value {
        Scalar::Switch(false) => Some(None),
        Scalar::Text(text) if text == "off" => Some(None),
        _ => whole(value).and_then(|n| u32::try_from(n).ok()).and_then(NonZeroU32::new).map(Some),
    })
}

fn whole(value: &Scalar) -> Option<u64> {
    match value {
        Scalar::Whole(number) => Some(*number),
        Scalar::Text(text) if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    }
}
