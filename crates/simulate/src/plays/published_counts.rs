//! The published counts of the simulated videos.

use std::collections::HashMap;

use mayfly_core::limits::FRAME_VIDEOS_MAX;
use mayfly_core::plays::VideoCount;

/// The maximum number of violations that are described.
const DESCRIBED_VIOLATIONS: usize = 5;

/// The counts of the simulated videos in the frames of the `plays` feed, and the violations of the
/// protocol: frames with too many videos, and counts that were published twice in a row.
#[derive(Debug, Default)]
pub(super) struct PublishedCounts {
    /// The last published count of each simulated video; `None` before the first publication.
    last: HashMap<String, Option<u64>>,
    /// The number of frames that contain simulated videos.
    pub(super) frames: u64,
    /// The number of frames and counts that violate the protocol.
    pub(super) violations: u64,
    /// Descriptions of the first violations.
    pub(super) descriptions: Vec<String>,
    /// Disconnects and gaps, after which frames may be missing.
    pub(super) interruptions: Vec<String>,
}

impl PublishedCounts {
    pub(super) fn new(videos: &[String]) -> Self {
        let last = videos.iter().map(|video| (video.clone(), None)).collect();
        Self { last, ..Self::default() }
    }

    /// Adds the counts in a frame, and records violations of the protocol.
    pub(super) fn add_frame(&mut self, counts: &[VideoCount]) {
        if counts.len() > FRAME_VIDEOS_MAX {
            self.add_violation(format!(
                "a frame has {} videos, but at most {FRAME_VIDEOS_MAX} are allowed",
                counts.len()
            ));
        }
        let mut has_simulated_video = false;
        for VideoCount { video_id, count } in counts {
            let Some(last) = self.last.get_mut(video_id) else { continue };
            has_simulated_video = true;
            let previous = last.replace(*count);
            if previous == Some(*count) {
                self.add_violation(format!("{video_id} was published with {count} twice in a row"));
            }
        }
        self.frames += u64::from(has_simulated_video);
    }

    fn add_violation(&mut self, description: String) {
        self.violations += 1;
        if self.descriptions.len() < DESCRIBED_VIOLATIONS {
            self.descriptions.push(description);
        }
    }

    /// Returns the last published count of a video; 0 before the first publication.
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
    fn last_count_of_each_simulated_video_is_stored() {
        let mut published = PublishedCounts::new(&["a".into(), "b".into()]);
        published.add_frame(&counts(&[("a", 1), ("other", 9)]));
        published.add_frame(&counts(&[("other", 9)]));
        published.add_frame(&counts(&[("a", 3)]));
        assert_eq!(["a", "b", "other"].map(|video| published.count(video)), [3, 0, 0]);
        assert_eq!((published.frames, published.violations), (2, 0), "{published:?}");
    }

    #[test]
    fn repeated_count_and_oversized_frame_are_violations() {
        let mut published = PublishedCounts::new(&["a".into()]);
        published.add_frame(&counts(&[("a", 1)]));
        published.add_frame(&counts(&[("a", 1)]));
        assert_eq!(published.descriptions, ["a was published with 1 twice in a row"]);
        published.add_frame(&counts(&[("other", 1); 20]));
        assert_eq!(published.violations, 1);
        published.add_frame(&counts(&[("other", 1); 21]));
        assert!(published.descriptions[1].starts_with("a frame has 21 videos"), "{published:?}");
        for _ in 0..10 {
            published.add_frame(&counts(&[("a", 1)]));
        }
        assert_eq!((published.violations, published.descriptions.len()), (12, 5));
    }
}
