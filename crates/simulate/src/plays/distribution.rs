//! Distributes plays among videos.

use anyhow::{Result, ensure};
use fastrand::Rng;
use mayfly_core::limits::IMMEDIATE_COUNTS_BELOW;

/// One in this many videos gets a small count: fewer than [`IMMEDIATE_COUNTS_BELOW`] plays.
const SMALL_ONE_IN: u64 = 5;

/// The number of plays for each video. The same seed generates the same distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Distribution {
    counts: Vec<u64>,
    random: Rng,
}

impl Distribution {
    /// Distributes `plays` among `videos`. A fifth of the videos get small counts, and the other
    /// videos share the remaining plays evenly. Returns an error if the average is a small count,
    /// because some of the other videos could then also get small counts.
    pub(super) fn new(plays: u64, videos: u64, seed: u64) -> Result<Self> {
        ensure!(
            plays >= videos * IMMEDIATE_COUNTS_BELOW,
            "{plays} plays are not enough for {videos} videos, which need {IMMEDIATE_COUNTS_BELOW} plays on \
             average: use --messages {} or more, or fewer --videos",
            videos * IMMEDIATE_COUNTS_BELOW
        );
        let mut random = Rng::with_seed(seed);
        let small = videos / SMALL_ONE_IN;
        let mut counts: Vec<_> =
            (0..small).map(|_| random.u64(1..IMMEDIATE_COUNTS_BELOW)).collect();
        let (rest, large) = (plays - counts.iter().sum::<u64>(), videos - small);
        counts.extend((0..large).map(|number| rest / large + u64::from(number < rest % large)));
        random.shuffle(&mut counts);
        Ok(Self { counts, random })
    }

    /// Returns the number of plays for each video.
    pub(super) fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Returns the number of videos with small counts.
    pub(super) fn count_small(&self) -> usize {
        self.counts.iter().filter(|count| **count < IMMEDIATE_COUNTS_BELOW).count()
    }

    /// Returns the index of the video for every play, in random order.
    pub(super) fn shuffled_plays(&self) -> Vec<usize> {
        let counts = self.counts.iter().enumerate();
        let mut plays: Vec<_> =
            counts.flat_map(|(video, count)| (0..*count).map(move |_| video)).collect();
        self.random.clone().shuffle(&mut plays);
        plays
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_and_a_fifth_are_small() {
        for (plays, videos) in
            [(100_000, 100), (2_000, 10), (100, 1), (777, 7), (12_345, 123), (400, 4)]
        {
            for seed in 0..20 {
                let distribution = Distribution::new(plays, videos, seed).expect("enough plays");
                let counts = distribution.counts();
                assert_eq!(counts.len() as u64, videos);
                assert_eq!(counts.iter().sum::<u64>(), plays);
                assert_eq!(distribution.count_small() as u64, videos / 5);
                let large = counts.iter().filter(|count| **count >= IMMEDIATE_COUNTS_BELOW);
                for count in large {
                    assert!(
                        (plays / videos..=plays.div_ceil(videos) * 2).contains(count),
                        "{counts:?}"
                    );
                }
                assert!(counts.iter().all(|count| *count > 0));
            }
        }
    }

    #[test]
    fn same_seed_generates_the_same_plays() {
        let generate = |seed| Distribution::new(2_000, 10, seed).expect("enough plays");
        assert_eq!(generate(7).counts(), generate(7).counts());
        assert_eq!(generate(7).shuffled_plays(), generate(7).shuffled_plays());
        assert_ne!(generate(7).counts(), generate(8).counts());
    }

    #[test]
    fn shuffled_plays_match_the_counts() {
        let distribution = Distribution::new(2_000, 10, 1).expect("enough plays");
        let plays = distribution.shuffled_plays();
        let mut counts = vec![0; 10];
        for video in &plays {
            counts[*video] += 1;
        }
        assert_eq!(counts, distribution.counts());
        assert!(!plays.is_sorted());
    }

    #[test]
    fn fewer_than_100_plays_per_video_are_rejected_with_the_minimum() {
        let error = Distribution::new(999, 10, 1).expect_err("too few plays").to_string();
        assert!(error.contains("999 plays") && error.contains("--messages 1000 "), "{error}");

        assert!(Distribution::new(1_000, 10, 1).is_ok());
    }
}
