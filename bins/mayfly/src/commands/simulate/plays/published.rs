//! What subscribers are told of the videos of a run.

use std::collections::HashMap;

use mayfly_core::frame::VideoCount;
use mayfly_core::limits::FRAME_VIDEOS_MAX;

/// So many of what is wrong are kept with their words.
const WRONG_KEPT: usize = 5;

/// The frames of the feed `plays`, as they came.
#[derive(Debug, Default)]
pub(super) struct Published {
    /// Of each video of the run, its count as it was published last; none before that.
    last: HashMap<String, Option<u64>>,
    /// Frames with videos of the run.
    pub(super) frames: u64,
    /// What must not be.
    pub(super) wrong: u64,
    /// The first of it, in words.
    pub(super) words: Vec<String>,
    /// Why something may have been missed.
    pub(super) cuts: Vec<String>,
}

impl Published {
    pub(super) fn new(videos: &[String]) -> Self {
        let last = videos.iter().map(|video| (video.clone(), None)).collect();
        Self { last, ..Self::default() }
    }

    /// Takes the counts of a frame.
    pub(super) fn take(&mut self, counts: &[VideoCount]) {
        if counts.len() > FRAME_VIDEOS_MAX {
            self.blame(format!(
                "a frame has {} videos, which may be {FRAME_VIDEOS_MAX} at most",
                counts.len()
            ));
        }
        let mut is_ours = false;
        for VideoCount { video_id, count } in counts {
            let Some(last) = self.last.get_mut(video_id) else { continue };
            is_ours = true;
            let before = last.replace(*count);
            if before == Some(*count) {
                self.blame(format!("{video_id} was published with {count} twice in a row"));
            }
        }
        self.frames += u64::from(is_ours);
    }

    fn blame(&mut self, words: String) {
        self.wrong += 1;
        if self.words.len() < WRONG_KEPT {
            self.words.push(words);
        }
    }

    /// The count of a video as it was published last; 0 before that.
    pub(super) fn count(&self, video: &str) -> u64 {
        self.last.get(video).copied().flatten().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(list: &[(&str, u64)]) -> Vec<VideoCount> {
        let count =
            |(video, count): &(&str, u64)| VideoCount { video_id: (*video).into(), count: *count };
        list.iter().map(count).collect()
    }

    #[test]
    fn the_last_count_of_each_video_of_the_run_is_kept() {
        let mut published = Published::new(&["a".into(), "b".into()]);
        published.take(&counts(&[("a", 1), ("other", 9)]));
        published.take(&counts(&[("other", 9)]));
        published.take(&counts(&[("a", 3)]));
        assert_eq!(["a", "b", "other"].map(|video| published.count(video)), [3, 0, 0]);
        assert_eq!((published.frames, published.wrong), (2, 0), "{published:?}");
    }

    #[test]
    fn a_count_that_comes_twice_and_a_frame_that_is_too_large_are_named() {
        let mut published = Published::new(&["a".into()]);
        published.take(&counts(&[("a", 1)]));
        published.take(&counts(&[("a", 1)]));
        assert_eq!(published.words, ["a was published with 1 twice in a row"]);
        published.take(&counts(&[("other", 1); 20]));
        assert_eq!(published.wrong, 1);
        published.take(&counts(&[("other", 1); 21]));
        assert!(published.words[1].starts_with("a frame has 21 videos"), "{published:?}");
        for _ in 0..10 {
            published.take(&counts(&[("a", 1)]));
        }
        assert_eq!((published.wrong, published.words.len()), (12, 5));
    }
}
