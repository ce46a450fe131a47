//! When a message was due, written at the beginning of its text: sixteen digits, microseconds since
//! 1970, which every process of the machine reads from the same clock.

use std::{
    ops::Range,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const DIGITS: usize = 16;
/// What stands before the text, and with it the stamp, in the JSON of a message.
const BEFORE: &[u8] = br#""text":""#;

/// The present moment.
pub fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Where the stamp is in a message or a frame that holds one; none when there is no text.
pub fn find(bytes: &[u8]) -> Option<Range<usize>> {
    let start = bytes.windows(BEFORE.len()).position(|window| window == BEFORE)? + BEFORE.len();
    (start + DIGITS <= bytes.len()).then_some(start..start + DIGITS)
}

/// Writes a stamp into its place.
pub fn write(place: &mut [u8], mut at_us: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(at_us % 10).unwrap_or(0);
        at_us /= 10;
    }
}

/// How long ago the stamp in a frame was, if it has one.
pub fn age(frame: &[u8]) -> Option<Duration> {
    let digits = std::str::from_utf8(&frame[find(frame)?]).ok()?;
    Some(Duration::from_micros(now_us().saturating_sub(digits.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_found_written_and_read() {
        let mut frame = br#"{"message":{"text":"It was the best of times"}}"#.to_vec();
        assert_eq!(age(&frame), None, "nothing is stamped yet");
        let place = find(&frame).expect("there is a text");
        write(&mut frame[place], now_us() - 5_000);
        let age = age(&frame).expect("it is stamped").as_millis();
        assert!((5..1_000).contains(&age), "{age}");
        assert!(frame.ends_with(b"f times\"}}"), "nothing else changed");
        assert_eq!(find(b"{}"), None);
    }
}
