//! The outcome of a simulation.

use std::time::Duration;

use mayfly_core::Consumption;
use mayfly_live_client::terminal::print;

use super::report::{ConsumptionReport, Counts, Mode, ReportLine};
use crate::request_times::{format_duration, rate};

/// The maximum number of videos to list if counts differ.
const LISTED_VIDEOS: usize = 5;

/// The duration of each phase of a simulation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// The time until all plays were queued.
    pub(super) queueing: Duration,
    /// The time until all plays were counted. In [`Mode::BackedUp`], excludes `queueing`.
    pub(super) counting: Duration,
}

/// The outcome of a simulation.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) mode: Mode,
    pub(super) times: Times,
    pub(super) consumption: Consumption,
    pub(super) produced: Counts,
    pub(super) counted: Counts,
    pub(super) published: Counts,
    /// The number of frames that contain simulated videos.
    pub(super) frames: u64,
    /// The number of frames and counts that violate the protocol.
    pub(super) violations: u64,
    /// Descriptions of the first violations.
    pub(super) descriptions: Vec<String>,
    /// Disconnects and gaps, after which frames may be missing.
    pub(super) interruptions: Vec<String>,
}

impl Outcome {
    /// Returns whether the produced, counted and published plays match and no frame violated the
    /// protocol.
    pub(super) fn is_success(&self) -> bool {
        self.violations == 0 && self.produced == self.counted && self.produced == self.published
    }

    fn plays(&self) -> u64 {
        self.produced.values().sum()
    }

    pub(super) fn print(&self) {
        print(&self.describe());
    }

    fn describe(&self) -> String {
        let Self { times, consumption, .. } = self;
        let plays = self.plays();
        let format_ms = |millis: Option<f64>| {
            millis.map_or_else(
                || "unknown".to_owned(),
                |millis| format_duration(Duration::from_secs_f64(millis / 1_000.0)),
            )
        };
        let latest =
            consumption.latest_ms().map(|latest| format_duration(Duration::from_millis(latest)));
        let format_rate =
            |duration| format!("{}: {:.0}/s", format_duration(duration), rate(plays, duration));
        let mut lines = vec![
            format!("queued in {}", format_rate(times.queueing)),
            format!("counted in {}", format_rate(times.counting)),
            format!(
                "consumption time: latest {}, average {}, p50 {}, p99 {}",
                latest.as_deref().unwrap_or("unknown"),
                format_ms(consumption.average_ms()),
                format_ms(consumption.quantile_ms(0.5)),
                format_ms(consumption.quantile_ms(0.99))
            ),
            format!("published in {} frames", self.frames),
        ];
        if self.violations > 0 {
            lines.push(format!("{} violations of the protocol:", self.violations));
            lines.extend(self.descriptions.iter().map(|description| format!("  {description}")));
        }
        let interruptions = self.interruptions.iter();
        lines.extend(interruptions.map(|reason| format!("frames may be missing: {reason}")));
        lines.extend(self.compare_counts());
        lines.join("\n")
    }

    /// Describes the result of the comparison: states that all counts match, or lists the first
    /// videos with different counts.
    fn compare_counts(&self) -> Vec<String> {
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
            vec![format!("failed: {} of {} videos differ", differ.len(), self.produced.len())];
        let listed = differ.iter().take(LISTED_VIDEOS);
        lines.extend(listed.map(|(video, produced, counted, published)| {
            format!("  {video}: produced {produced}, counted {counted}, published {published}")
        }));
        if differ.len() > LISTED_VIDEOS {
            lines.push("  …".to_owned());
        }
        lines
    }

    /// Returns the throughput of counting and the consumption times.
    pub(super) fn consumption_report(&self) -> ConsumptionReport {
        let Self { times, consumption, .. } = self;
        let round = |number: f64| (number * 1_000.0).round() / 1_000.0;
        ConsumptionReport {
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

    /// Returns the lines of the report.
    pub(super) fn report_lines<'a>(
        &'a self,
        consumption: &'a ConsumptionReport,
    ) -> [ReportLine<'a>; 4] {
        [
            ReportLine::Produced(&self.produced),
            ReportLine::Counted(&self.counted),
            ReportLine::Published(&self.published),
            ReportLine::Consumption(consumption),
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
            violations: 0,
            descriptions: Vec::new(),
            interruptions: Vec::new(),
        }
    }

    #[test]
    fn matching_counts_are_a_success() {
        let outcome = outcome(100, 100);
        assert!(outcome.is_success());
        let text = outcome.describe();
        for line in [
            "queued in 1.00 s: 200/s",
            "counted in 2.00 s: 100/s",
            "consumption time: latest 1.50 s, average 1.50 s, p50 ",
            "published in 3 frames",
            "produced = counted = published: 200 plays of 2 videos",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn differing_video_is_listed() {
        for (counted, published) in [(99, 100), (100, 99), (101, 101)] {
            let outcome = outcome(counted, published);
            assert!(!outcome.is_success());
            let text = outcome.describe();
            let line = format!("sim-a: produced 100, counted {counted}, published {published}");
            assert!(
                text.contains("failed: 1 of 2 videos differ") && text.contains(&line),
                "{text}"
            );
            assert!(!text.contains("sim-b"), "{text}");
        }
    }

    #[test]
    fn violation_is_a_failure_even_if_all_counts_match() {
        let descriptions = vec!["sim-a was published with 1 twice in a row".to_owned()];
        let outcome = Outcome { violations: 1, descriptions, ..outcome(100, 100) };
        assert!(!outcome.is_success() && outcome.describe().contains("twice in a row"));
    }
}
