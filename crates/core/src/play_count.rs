//! Play counts: how often a video was played, and the order in which they are listed.

use std::{fmt, fmt::Write as _, str::FromStr};

use serde::Serialize;

use crate::{clock::Timestamp, cursor::InvalidCursor};

/// How often a video was played.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlayCount {
    /// The video.
    pub video_id: String,
    /// Its plays.
    pub count: u64,
    /// When the last of them was counted.
    pub updated_at: Timestamp,
}

/// A count, and what was published of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedCount {
    /// The count.
    pub count: PlayCount,
    /// The count as it was last published, as far as that is known; 0 if it never was.
    pub published: u64,
}

/// Where a walk over counts stands, highest first: behind this video at this count. Videos of one
/// count follow each other by the bytes of their ids, the greatest first.
///
/// A cursor has to be short, and the id of a video may be long: of a long one the beginning is kept,
/// and how many of this count that begin like it were listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayCursor {
    /// The count of the last video that was listed.
    pub count: u64,
    /// Its id, or the beginning of it.
    pub video: Vec<u8>,
    /// Where it is a beginning: how many that begin so were listed at this count.
    pub listed: Option<u32>,
}

/// Bytes of an id that a cursor keeps.
const VIDEO_BYTES_MAX: usize = 96;

impl PlayCursor {
    /// The cursor behind the last video of a page, which began behind `before`.
    #[must_use]
    pub fn behind(page: &[PlayCount], before: Option<&Self>) -> Option<Self> {
        let last = page.last()?;
        let whole = last.video_id.as_bytes();
        if whole.len() <= VIDEO_BYTES_MAX {
            return Some(Self { count: last.count, video: whole.to_vec(), listed: None });
        }
        let video = whole[..VIDEO_BYTES_MAX].to_vec();
        let alike = page.iter().rev().take_while(|one| {
            one.count == last.count && one.video_id.as_bytes().starts_with(&video)
        });
        let here = alike.count();
        // All of the page begin so: those of the pages before it count, too.
        let earlier = before.filter(|before| {
            here == page.len() && before.count == last.count && before.video == video
        });
        let listed = earlier.and_then(|before| before.listed).unwrap_or(0)
            + u32::try_from(here).unwrap_or(u32::MAX);
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
                |place: usize| u8::from_str_radix(video.get(2 * place..2 * place + 2)?, 16).ok();
            let video = (0..video.len().div_ceil(2)).map(byte).collect::<Option<Vec<_>>>()?;
            Some(Self { count, video, listed })
        };
        let cursor = read().ok_or(InvalidCursor)?;
        let mut same = String::with_capacity(text.len());
        // Only what we would write ourselves: no signs, no zeros in front, no capitals.
        let is_ours = write!(same, "{cursor}").is_ok()
            && same == text
            && (1..=VIDEO_BYTES_MAX).contains(&cursor.video.len());
        if is_ours { Ok(cursor) } else { Err(InvalidCursor) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn count(video_id: &str, count: u64) -> PlayCount {
        let updated_at = Timestamp::from_millis(0);
        PlayCount { video_id: video_id.to_owned(), count, updated_at }
    }

    proptest! {
        #[test]
        fn a_cursor_is_read_back_and_goes_into_a_url_as_it_is(
            number: u64, id in ".{1,128}", listed in 0..3_usize
        ) {
            let page = vec![count(&id, number); listed + 1];
            let cursor = PlayCursor::behind(&page, None).expect("there is a last one");
            let text = cursor.to_string();
            prop_assert!(text.len() <= 256, "{}", text.len());
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
            prop_assert_eq!(text.parse::<PlayCursor>(), Ok(cursor));
        }

        #[test]
        fn what_was_not_given_out_is_refused(text in "(1p)?[0-9a-f-]{0,20}") {
            if let Ok(cursor) = text.parse::<PlayCursor>() {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }

    #[test]
    fn of_long_ids_that_begin_alike_it_is_kept_how_many_were_listed() {
        let long = |end: &str| format!("{}{end}", "x".repeat(VIDEO_BYTES_MAX));
        let first = [count("z", 7), count(&long("b"), 7), count(&long("a"), 7)];
        let cursor = PlayCursor::behind(&first, None).expect("a cursor");
        assert_eq!(cursor.listed, Some(2));
        let next = PlayCursor::behind(&[count(&long(""), 7)], Some(&cursor)).expect("a cursor");
        assert_eq!(next.listed, None, "it is kept whole");
        let next = PlayCursor::behind(&[count(&long("0"), 7)], Some(&cursor)).expect("a cursor");
        assert_eq!(next.listed, Some(3));
        let lower = PlayCursor::behind(&[count(&long("0"), 6)], Some(&cursor)).expect("a cursor");
        assert_eq!(lower.listed, Some(1));
    }
}
