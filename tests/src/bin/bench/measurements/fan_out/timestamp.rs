//! The due time of a message at the start of its text: 16 digits of microseconds since the Unix
//! epoch, from the clock that all processes of the machine share.

use std::{
    ops::Range,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const DIGITS: usize = 16;
/// The JSON before the text of a message.
const TEXT_PREFIX: &[u8] = br#""text":""#;

/// Returns the current time in microseconds since the Unix epoch.
pub fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Returns the range of the timestamp in a message or frame, or `None` without a text.
pub fn find(bytes: &[u8]) -> Option<Range<usize>> {
    let start = bytes.windows(TEXT_PREFIX.len()).position(|window| window == TEXT_PREFIX)?
        + TEXT_PREFIX.len();
    (start + DIGITS <= bytes.len()).then_some(start..start + DIGITS)
}

/// Writes a timestamp into its range.
pub fn write(digits: &mut [u8], mut at_us: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(at_us % 10).unwrap_or(0);
        at_us /= 10;
    }
}

/// Returns the age of the timestamp in a frame, if there is one.
pub fn age(frame: &[u8]) -> Option<Duration> {
    let digits = std::str::from_utf8(&frame[find(frame)?]).ok()?;
    Some(Duration::from_micros(now_us().saturating_sub(digits.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamp_is_found_written_and_read() {
        let mut frame = br#"{"message":{"text":"It was the best of times"}}"#.to_vec();
        assert_eq!(age(&frame), None, "no timestamp yet");
        let digits = find(&frame).expect("the frame has a text");
        write(&mut frame[digits], now_us() - 5_000);
        let age = age(&frame).expect("the frame has a timestamp").as_millis();
        assert!((5..1_000).contains(&age), "{age}");
        assert!(frame.ends_with(b"f times\"}}"), "the rest is unchanged");
        assert_eq!(find(b"{}"), None);
    }
}
