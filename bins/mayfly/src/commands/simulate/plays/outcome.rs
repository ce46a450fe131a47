//! What came of a run, for people and for programs.

use std::time::Duration;

use mayfly_core::Consumption;

use super::report::{Consumed, Counts, Line, Mode};
use crate::commands::simulate::pace::{rate, show};
use crate::output::say;

/// Of what differs, so many are named.
const NAMED: usize = 5;

/// How long it took until all plays were queued, and until all were counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) queueing: Duration,
    pub(super) counting: Duration,
}

/// What came of a run.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) mode: Mode,
    pub(super) times: Times,
    pub(super) consumption: Consumption,
    pub(super) produced: Counts,
    pub(super) counted: Counts,
    pub(super) published: Counts,
    /// Frames with videos of the run.
    pub(super) frames: u64,
    /// What must not be published and was, and the first of it in words.
    pub(super) wrong: u64,
    pub(super) words: Vec<String>,
    /// Why frames may have been missed.
    pub(super) cuts: Vec<String>,
}

impl Outcome {
    /// Whether what was produced, counted and published is the same, and published as it should be.
    pub(super) fn is_right(&self) -> bool {
        self.wrong == 0 && self.produced == self.counted && self.produced == self.published
    }

    fn plays(&self) -> u64 {
        self.produced.values().sum()
    }

    pub(super) fn say(&self) {
        say(&self.describe());
    }

    fn describe(&self) -> String {
        let Self { times, consumption, .. } = self;
        let plays = self.plays();
        let millis = |millis: Option<f64>| {
            millis.map_or_else(
                || "unknown".to_owned(),
                |millis| show(Duration::from_secs_f64(millis / 1_000.0)),
            )
        };
        let latest = consumption.latest_ms().map(|latest| show(Duration::from_millis(latest)));
        let mut lines = vec![
            format!("queued in {}: {:.0}/s", show(times.queueing), rate(plays, times.queueing)),
            format!("counted in {}: {:.0}/s", show(times.counting), rate(plays, times.counting)),
            format!(
                "a play waited: latest {}, average {}, p50 {}, p99 {}",
                latest.as_deref().unwrap_or("unknown"),
                millis(consumption.average_ms()),
                millis(consumption.quantile_ms(0.5)),
                millis(consumption.quantile_ms(0.99))
            ),
            format!("published in {} frames", self.frames),
        ];
        if self.wrong > 0 {
            lines.push(format!("published {} times what must not be:", self.wrong));
            lines.extend(self.words.iter().map(|words| format!("  {words}")));
        }
        lines.extend(self.cuts.iter().map(|why| format!("frames may have been missed: {why}")));
        lines.extend(self.compare());
        lines.join("\n")
    }

    /// Whether all three are the same, else the first videos that differ.
    fn compare(&self) -> Vec<String> {
        let find = |counts: &Counts, video: &String| counts.get(video).copied().unwrap_or(0);
        let all = self.produced.iter().map(|(video, produced)| {
            (video, *produced, find(&self.counted, video), find(&self.published, video))
        });
        let differ: Vec<_> = all
            .filter(|(_, produced, counted, published)| {
                produced != counted || produced != published
            })
            .collect();
        if differ.is_empty() {
            let videos = self.produced.len();
            return vec![format!(
                "produced = counted = published: {} plays of {videos} videos",
                self.plays()
            )];
        }
        let mut lines =
            vec![format!("wrong: {} of {} videos differ", differ.len(), self.produced.len())];
        let named = differ.iter().take(NAMED).map(|(video, produced, counted, published)| {
            format!("  {video}: produced {produced}, counted {counted}, published {published}")
        });
        lines.extend(named);
        if differ.len() > NAMED {
            lines.push("  …".to_owned());
        }
        lines
    }

    /// How the plays were counted.
    pub(super) fn consumed(&self) -> Consumed {
        let Self { times, consumption, .. } = self;
        let round = |number: f64| (number * 1_000.0).round() / 1_000.0;
        Consumed {
            mode: self.mode,
            messages: self.plays(),
            seconds: round(times.counting.as_secs_f64()),
            rate: round(rate(self.plays(), times.counting)),
            latest_ms: consumption.latest_ms(),
            average_ms: consumption.average_ms(),
            p50_ms: consumption.quantile_ms(0.5),
            p99_ms: consumption.quantile_ms(0.99),
            frames: self.frames,
        }
    }

    /// The lines of a report, in their order.
    pub(super) fn lines<'a>(&'a self, consumed: &'a Consumed) -> [Line<'a>; 4] {
        [
            Line::Produced(&self.produced),
            Line::Counted(&self.counted),
            Line::Published(&self.published),
            Line::Consumption(consumed),
        ]
    }
}

#[cfg(test)]
mod tests {
    use mayfly_core::Timestamp;

    use super::*;

    fn outcome(counted: u64, published: u64) -> Outcome {
        let counts = |count| Counts::from([("sim-a".to_owned(), count), ("sim-b".to_owned(), 100)]);
        let mut consumption = Consumption::default();
        consumption.add(Timestamp::from_millis(0), 1_500, 200);
        Outcome {
            mode: Mode::Live,
            times: Times { queueing: Duration::from_secs(1), counting: Duration::from_secs(2) },
            consumption,
            produced: counts(100),
            counted: counts(counted),
            published: counts(published),
            frames: 3,
            wrong: 0,
            words: Vec::new(),
            cuts: Vec::new(),
        }
    }

    #[test]
    fn a_run_in_which_all_agree_is_right() {
        let right = outcome(100, 100);
        assert!(right.is_right());
        let words = right.describe();
        for part in [
            "queued in 1.00 s: 200/s",
            "counted in 2.00 s: 100/s",
            "a play waited: latest 1.50 s, average 1.50 s, p50 ",
            "published in 3 frames",
            "produced = counted = published: 200 plays of 2 videos",
        ] {
            assert!(words.contains(part), "{part}: {words}");
        }
    }

    #[test]
    fn a_video_that_differs_anywhere_is_named() {
        for (counted, published) in [(99, 100), (100, 99), (101, 101)] {
            let wrong = outcome(counted, published);
            assert!(!wrong.is_right());
            let words = wrong.describe();
            let named = format!("sim-a: produced 100, counted {counted}, published {published}");
            assert!(
                words.contains("wrong: 1 of 2 videos differ") && words.contains(&named),
                "{words}"
            );
            assert!(!words.contains("sim-b"), "{words}");
        }
    }

    #[test]
    fn what_must_not_be_published_makes_a_run_fail_though_all_agree() {
        let words = vec!["sim-a was published with 1 twice in a row".to_owned()];
        let wrong = Outcome { wrong: 1, words, ..outcome(100, 100) };
        assert!(!wrong.is_right() && wrong.describe().contains("twice in a row"));
    }
}
