//! Rates: so many in a second, a minute, an hour or a day.

use std::time::Duration;

use serde::Deserializer;

use super::scalar::{Scalar, read};

/// So many items in a window of this length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many, at least 1.
    pub items: u32,
    /// How long the window lasts.
    pub window: Duration,
}

/// Reads a rate, or `off`.
pub(super) fn or_off<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Rate>, D::Error> {
    read(
        deserializer,
        "off, or a rate such as 10/second, 60/minute, 100/hour or 100/day",
        |value| match value {
            Scalar::Switch(false) => Some(None),
            Scalar::Text(text) if text == "off" => Some(None),
            Scalar::Text(text) => parse(text).map(Some),
            _ => None,
        },
    )
}

fn parse(text: &str) -> Option<Rate> {
    let (items, unit) = text.split_once('/')?;
    let seconds = match unit {
        "second" => 1,
        "minute" => 60,
        "hour" => 3_600,
        "day" => 86_400,
        _ => return None,
    };
    let digits = items.bytes().all(|byte| byte.is_ascii_digit());
    let items = items.parse().ok().filter(|&items| digits && items > 0)?;
    Some(Rate { items, window: Duration::from_secs(seconds) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_and_a_unit() {
        let day = Rate { items: 100, window: Duration::from_secs(86_400) };
        assert_eq!(parse("100/day"), Some(day));
        assert_eq!(parse("1/second").map(|rate| rate.window), Some(Duration::from_secs(1)));
        for refused in
            ["", "100", "/day", "0/day", "+1/day", "1.5/day", "1/week", "1/ day", "1/days"]
        {
            assert_eq!(parse(refused), None, "{refused}");
        }
    }
}
