//! The cursor for keyset pagination over play counts, from the highest count to the lowest.

use std::{fmt, fmt::Write as _, str::FromStr};

use super::PlayCount;
use crate::message::InvalidCursor;

/// The last video on a page. Videos are sorted by count and then by the bytes of their IDs, both in
/// descending order.
///
/// A cursor must be short, but a video ID may be long. For a long ID, the cursor contains a prefix
/// of the ID and the number of videos with this prefix and count that have already been listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayCursor {
    /// The count of the last video.
    pub count: u64,
    /// The ID of the last video, or a prefix of the ID.
    pub video: Vec<u8>,
    /// If `video` is a prefix, the number of videos with this prefix and count that have already
    /// been listed.
    pub listed: Option<u32>,
}

/// The maximum length of [`PlayCursor::video`], in bytes.
const VIDEO_BYTES_MAX: usize = 96;

impl PlayCursor {
    /// Returns the cursor after the last video on a page that started after `previous`; `None` if
    /// the page is empty.
    #[must_use]
    pub fn after(page: &[PlayCount], previous: Option<&Self>) -> Option<Self> {
        let last = page.last()?;
        let whole = last.video_id.as_bytes();
        if whole.len() <= VIDEO_BYTES_MAX {
            return Some(Self { count: last.count, video: whole.to_vec(), listed: None });
        }
        let video = whole[..VIDEO_BYTES_MAX].to_vec();
        let same_prefix = page.iter().rev().take_while(|one| {
            one.count == last.count && one.video_id.as_bytes().starts_with(&video)
        });
        let on_this_page = same_prefix.count();
        // If every video on this page has this prefix and count, earlier pages may contain others,
        // which `previous` has counted.
        let continued = previous.filter(|previous| {
            on_this_page == page.len() && previous.count == last.count && previous.video == video
        });
        let listed = continued.and_then(|previous| previous.listed).unwrap_or(0)
            + u32::try_from(on_this_page).unwrap_or(u32::MAX);
        Some(Self { count: last.count, video, listed: Some(listed) })
    }
}

impl fmt::Display for PlayCursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "1p{:x}-", self.count)?;
        if let Some(listed) = self.listed {
            write!(formatter, "{listed:x}-")?;
        }
        self.video.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl FromStr for PlayCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let read = || {
            let mut parts = text.strip_prefix("1p")?.split('-');
            let count = u64::from_str_radix(parts.next()?, 16).ok()?;
            let (second, third) = (parts.next()?, parts.next());
            let (listed, video) = match third {
                Some(video) => (Some(u32::from_str_radix(second, 16).ok()?), video),
                None => (None, second),
            };
            let byte =
                |index: usize| u8::from_str_radix(video.get(2 * index..2 * index + 2)?, 16).ok();
            let video = (0..video.len().div_ceil(2)).map(byte).collect::<Option<Vec<_>>>()?;
            Some(Self { count, video, listed })
        };
        let cursor = read().ok_or(InvalidCursor)?;
        let mut canonical = String::with_capacity(text.len());
        // Accept only the canonical form: no signs, leading zeros or capitals.
        let is_valid = write!(canonical, "{cursor}").is_ok()
            && canonical == text
            && (1..=VIDEO_BYTES_MAX).contains(&cursor.video.len());
        if is_valid { Ok(cursor) } else { Err(InvalidCursor) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Timestamp;

    fn count(video_id: &str, count: u64) -> PlayCount {
        let updated_at = Timestamp::from_millis(0);
        PlayCount { video_id: video_id.to_owned(), count, updated_at }
    }

    proptest! {
        #[test]
        fn cursor_round_trips_and_is_url_safe(
            number: u64, id in ".{1,128}", listed in 0..3_usize
        ) {
            let page = vec![count(&id, number); listed + 1];
            let cursor = PlayCursor::after(&page, None).expect("the page is not empty");
            let text = cursor.to_string();
            prop_assert!(text.len() <= 256, "{}", text.len());
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
            prop_assert_eq!(text.parse::<PlayCursor>(), Ok(cursor));
        }

        #[test]
        fn only_the_canonical_form_is_parsed(text in "(1p)?[0-9a-f-]{0,20}") {
            if let Ok(cursor) = text.parse::<PlayCursor>() {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }

    #[test]
    fn long_ids_with_a_common_prefix_are_counted() {
        let long = |end: &str| format!("{}{end}", "x".repeat(VIDEO_BYTES_MAX));
        let first = [count("z", 7), count(&long("b"), 7), count(&long("a"), 7)];
        let cursor = PlayCursor::after(&first, None).expect("a cursor");
        assert_eq!(cursor.listed, Some(2));
        let next = PlayCursor::after(&[count(&long(""), 7)], Some(&cursor)).expect("a cursor");
        assert_eq!(next.listed, None, "the whole ID is stored");
        let next = PlayCursor::after(&[count(&long("0"), 7)], Some(&cursor)).expect("a cursor");
        assert_eq!(next.listed, Some(3));
        let lower = PlayCursor::after(&[count(&long("0"), 6)], Some(&cursor)).expect("a cursor");
        assert_eq!(lower.listed, Some(1));
    }
}
