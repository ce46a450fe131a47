//! Durations: a whole number followed by a unit.

use std::time::Duration;

use serde::Deserializer;

use super::{Scalar, parse_scalar};

/// Ten years, in milliseconds. Adding a longer duration to an instant may overflow on some
/// platforms.
const MILLISECONDS_MAX: u64 = 10 * 365 * 24 * 3_600_000;

/// The maximum value of a TCP keepalive timer, in seconds.
pub(super) const KERNEL_SECONDS_MAX: u64 = 32_767;

/// Parses a duration above 0.
pub(crate) fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_scalar(deserializer, "a duration above 0, such as 250ms, 30s, 10m or 24h", |value| {
        parse(value).filter(|duration| !duration.is_zero())
    })
}

/// Parses a duration that may be 0.
pub(crate) fn any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_scalar(deserializer, "a duration, such as 0s, 250ms, 30s, 10m or 24h", parse)
}

/// Parses a duration of whole seconds above 0, up to the kernel's limit for keepalive timers.
pub(crate) fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_scalar(deserializer, "whole seconds from 1s to 32767s", |value| {
        let duration = parse(value)?;
        let is_whole = duration.subsec_nanos() == 0;
        (is_whole && (1..=KERNEL_SECONDS_MAX).contains(&duration.as_secs())).then_some(duration)
    })
}

/// Parses a duration in the notation of the configuration, such as `250ms`, `30s`, `10m` or `24h`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let number: u64 = digits.parse().ok()?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let milliseconds =
        number.checked_mul(milliseconds).filter(|&total| total <= MILLISECONDS_MAX)?;
    Some(Duration::from_millis(milliseconds))
}

fn parse(value: &Scalar) -> Option<Duration> {
    parse_duration(value.as_text()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn duration(text: &str) -> Option<Duration> {
        parse(&Scalar::Text(text.to_owned()))
    }

    #[test]
    fn duration_is_a_whole_number_with_a_unit() {
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("30s"), Some(Duration::from_secs(30)));
        assert_eq!(duration("10m"), Some(Duration::from_secs(600)));
        assert_eq!(duration("24h"), Some(Duration::from_secs(86_400)));
        for invalid in [
            "",
            "30",
            "s",
            "1.5s",
            "-1s",
            "1 s",
            "1d",
            "s1",
            "99999999999999999999h",
            "9999999999999999h",
        ] {
            assert_eq!(duration(invalid), None, "{invalid}");
        }
        assert_eq!(parse(&Scalar::Whole(30)), None);
    }
}
