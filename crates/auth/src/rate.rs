//! Rate limits of API keys.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// A number of items per second, minute, hour or day, such as `100/day`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RateText {
    /// Items per window, at least 1.
    pub items: u32,
    /// Length of the window.
    pub window: Duration,
}

impl RateText {
    /// The rule, worded to follow the field's name.
    pub const RULE: &str = "must be a rate such as 10/second, 60/minute, 100/hour or 100/day";

    const UNITS: [(&str, u64); 4] =
        [("second", 1), ("minute", 60), ("hour", 3_600), ("day", 86_400)];

    /// Parses a rate. The error is the violated rule.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        Self::find(text).ok_or(Self::RULE)
    }

    fn find(text: &str) -> Option<Self> {
        let (items, unit) = text.split_once('/')?;
        let (_, seconds) = Self::UNITS.into_iter().find(|(name, _)| *name == unit)?;
        let is_number = items.bytes().all(|byte| byte.is_ascii_digit());
        let items = items.parse().ok().filter(|&items| is_number && items > 0)?;
        Some(Self { items, window: Duration::from_secs(seconds) })
    }
}

impl TryFrom<String> for RateText {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        Self::parse(&text)
    }
}

impl From<RateText> for String {
    fn from(rate: RateText) -> Self {
        rate.to_string()
    }
}

/// A window that has no unit is written in seconds.
impl fmt::Display for RateText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.window.as_secs();
        match Self::UNITS.into_iter().find(|(_, unit)| *unit == seconds) {
            Some((unit, _)) => write!(formatter, "{}/{unit}", self.items),
            None => write!(formatter, "{}/{seconds}s", self.items),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_a_number_and_a_unit() {
        for text in ["1/second", "60/minute", "100/hour", "4294967295/day"] {
            assert_eq!(RateText::parse(text).map(|rate| rate.to_string()), Ok(text.to_owned()));
        }
        let day = RateText { items: 100, window: Duration::from_secs(86_400) };
        assert_eq!(RateText::parse("100/day"), Ok(day));
        for wrong in
            ["", "100", "/day", "0/day", "+1/day", "1.5/day", "1/week", "1/ day", "4294967296/day"]
        {
            assert_eq!(RateText::parse(wrong), Err(RateText::RULE), "{wrong:?}");
        }
    }
}
