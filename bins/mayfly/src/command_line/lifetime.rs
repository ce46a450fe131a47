//! Lifetimes of keys and tokens.

use std::time::Duration;

use mayfly_runtime::settings::parse_duration;

/// Ten years, in days, as for the durations of the configuration.
const DAYS_MAX: u64 = 3_650;
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Parses a duration of at least one second. In addition to the units of the configuration, `d`
/// means days.
pub(super) fn lifetime(text: &str) -> Result<Duration, &'static str> {
    parse(text)
        .filter(|lifetime| *lifetime >= Duration::from_secs(1))
        .ok_or("expected a duration from 1s to 3650d, such as 30m, 24h or 90d")
}

/// Parses a duration that may be 0.
pub(super) fn lifetime_or_zero(text: &str) -> Result<Duration, &'static str> {
    parse(text).ok_or("expected a duration up to 3650d, such as 0s, 30m, 24h or 90d")
}

fn parse(text: &str) -> Option<Duration> {
    let Some(days) = text.strip_suffix('d') else { return parse_duration(text) };
    let is_number = days.bytes().all(|byte| byte.is_ascii_digit());
    let days: u32 = days.parse().ok().filter(|_| is_number)?;
    (u64::from(days) <= DAYS_MAX).then(|| DAY * days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetime_is_a_number_and_a_unit() {
        for (text, seconds) in [("1s", 1), ("90m", 5_400), ("24h", 86_400), ("90d", 7_776_000)] {
            assert_eq!(lifetime(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "d", "0d", "0s", "999ms", "+1d", "-1d", "1.5d", "3651d", "90", "1w", "dd"]
        {
            assert!(lifetime(wrong).is_err(), "{wrong}");
        }
        assert_eq!(lifetime_or_zero("0s"), Ok(Duration::ZERO));
        assert_eq!(lifetime_or_zero("3650d"), Ok(DAY * 3_650));
    }
}
