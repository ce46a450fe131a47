//! How often each video is played, and in which order.

use anyhow::{Result, ensure};
use fastrand::Rng;
use mayfly_core::limits::SMALL_COUNT_BELOW;

/// One in so many videos is played only now and then.
const SMALL_ONE_IN: u64 = 5;

/// How often each of some videos is played; the same seed makes the same counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Distribution {
    counts: Vec<u64>,
    random: Rng,
}

impl Distribution {
    /// Divides plays among videos: a fifth get few, the others the rest in equal parts. Those are more than the
    /// average, which therefore must be no small count itself.
    pub(super) fn new(plays: u64, videos: u64, seed: u64) -> Result<Self> {
        ensure!(
            plays >= videos * SMALL_COUNT_BELOW,
            "{plays} plays are too few for {videos} videos: four in five of them get more than the average, and \
             have to get beyond {SMALL_COUNT_BELOW}; give --messages {} or more, or fewer --videos",
            videos * SMALL_COUNT_BELOW
        );
        let mut random = Rng::with_seed(seed);
        let small = videos / SMALL_ONE_IN;
        let mut counts: Vec<_> = (0..small).map(|_| random.u64(1..SMALL_COUNT_BELOW)).collect();
        let (left, large) = (plays - counts.iter().sum::<u64>(), videos - small);
        counts.extend((0..large).map(|number| left / large + u64::from(number < left % large)));
        random.shuffle(&mut counts);
        Ok(Self { counts, random })
    }

    /// The count of each video.
    pub(super) fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// How many videos get few plays.
    pub(super) fn small(&self) -> usize {
        self.counts.iter().filter(|count| **count < SMALL_COUNT_BELOW).count()
    }

    /// All plays, each as the number of its video, in any order.
    pub(super) fn shuffle(&self) -> Vec<usize> {
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
    fn the_sum_is_exact_a_fifth_is_small_and_the_rest_is_between_the_average_and_twice_that() {
        for (plays, videos) in
            [(100_000, 100), (2_000, 10), (100, 1), (777, 7), (12_345, 123), (400, 4)]
        {
            for seed in 0..20 {
                let distribution =
                    Distribution::new(plays, videos, seed).expect("there are enough");
                let counts = distribution.counts();
                assert_eq!(counts.len() as u64, videos);
                assert_eq!(counts.iter().sum::<u64>(), plays);
                assert_eq!(distribution.small() as u64, videos / 5);
                let large = counts.iter().filter(|count| **count >= SMALL_COUNT_BELOW);
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
    fn the_same_seed_makes_the_same_counts_in_the_same_order() {
        let make = |seed| Distribution::new(2_000, 10, seed).expect("there are enough");
        assert_eq!(make(7).counts(), make(7).counts());
        assert_eq!(make(7).shuffle(), make(7).shuffle());
        assert_ne!(make(7).counts(), make(8).counts());
    }

    #[test]
    fn every_play_is_there_and_they_are_mixed() {
        let distribution = Distribution::new(2_000, 10, 1).expect("there are enough");
        let plays = distribution.shuffle();
        let mut counts = vec![0; 10];
        for video in &plays {
            counts[*video] += 1;
        }
        assert_eq!(counts, distribution.counts());
        assert!(!plays.is_sorted());
    }

    #[test]
    fn fewer_than_a_hundred_plays_a_video_are_refused_with_what_would_do() {
        let refused = Distribution::new(999, 10, 1).expect_err("it is too few").to_string();
        assert!(refused.contains("999 plays") && refused.contains("--messages 1000 "), "{refused}");
        assert!(Distribution::new(1_000, 10, 1).is_ok());
    }
}
