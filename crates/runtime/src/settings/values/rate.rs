//! Rates: a number of items per second, minute, hour or day.

use std::time::Duration;

use serde::Deserializer;

use super::{Scalar, parse_scalar};

/// A number of items per window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Items per window, at least 1.
    pub items: u32,
    /// Length of the window.
    pub window: Duration,
}

impl Rate {
    /// Parses a rate in the notation of the configuration, such as `100/day`.
    pub fn parse(text: &str) -> Option<Self> {
        let (items, unit) = text.split_once('/')?;
        let seconds = match unit {
            "second" => 1,
            "minute" => 60,
            "hour" => 3_600,
            "day" => 86_400,
            _ => return None,
        };
        let is_number = items.bytes().all(|byte| byte.is_ascii_digit());
        let items = items.parse().ok().filter(|&items| is_number && items > 0)?;
        Some(Self { items, window: Duration::from_secs(seconds) })
    }
}

/// Parses a rate, or `off`.
pub(crate) fn or_off<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Rate>, D::Error> {
    parse_scalar(
        deserializer,
        "off, or a rate such as 10/second, 60/minute, 100/hour or 100/day",
        |value| match value {
            Scalar::Switch(false) => Some(None),
            Scalar::Text(text) if text == "off" => Some(None),
            Scalar::Text(text) => Rate::parse(text).map(Some),
            _ => None,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_a_number_and_a_unit() {
        let day = Rate { items: 100, window: Duration::from_secs(86_400) };
        assert_eq!(Rate::parse("100/day"), Some(day));
        assert_eq!(Rate::parse("1/second").map(|rate| rate.window), Some(Duration::from_secs(1)));
        for rejected in
            ["", "100", "/day", "0/day", "+1/day", "1.5/day", "1/week", "1/ day", "1/days"]
        {
            assert_eq!(Rate::parse(rejected), None, "{rejected}");
        }
    }
}
