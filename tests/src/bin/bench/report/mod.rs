//! The result table.

mod machine;
mod statistics;

use std::{
    fmt::{self, Display, Formatter},
    time::Duration,
};

use anyhow::ensure;

pub use machine::{describe, load_average};
pub use statistics::{median, percentile, rate, ratios};

/// The result of one measurement: Mayfly compared with a baseline.
#[derive(Debug)]
pub struct Comparison {
    /// Mayfly divided by the baseline, for each pair of rounds.
    pub ratios: Vec<f64>,
    /// Operations per CPU second of the measured service, divided by those of the baseline, for each
    /// pair of rounds. Empty if the baseline is not Mayfly. Varies much less than `ratios`.
    pub cpu_ratios: Vec<f64>,
    /// Operations per second of Mayfly.
    pub mayfly: f64,
    /// Operations per second of the baseline.
    pub baseline: f64,
    /// The p50 and p99 latency of Mayfly.
    pub latency: Option<(Duration, Duration)>,
    /// The p50 and p99 latency of the baseline.
    pub baseline_latency: Option<(Duration, Duration)>,
    /// The number of unexpected responses.
    pub failures: u64,
}

/// One row of the table.
#[derive(Debug)]
pub struct Row {
    name: &'static str,
    baseline_name: &'static str,
    comparison: Comparison,
    expected: Option<f64>,
}

impl Row {
    /// Creates a row.
    pub fn new(name: &'static str, baseline_name: &'static str, comparison: Comparison) -> Self {
        Self { name, baseline_name, comparison, expected: None }
    }

    /// Sets the minimum expected ratio.
    pub fn expecting(self, ratio: f64) -> Self {
        Self { expected: Some(ratio), ..self }
    }

    fn ratio(&self) -> f64 {
        median(self.comparison.ratios.iter().copied())
    }

    fn cpu_ratio(&self) -> String {
        let ratios = &self.comparison.cpu_ratios;
        if ratios.is_empty() {
            return "-".to_owned();
        }
        format!("{:.2}", median(ratios.iter().copied()))
    }

    fn verdict(&self) -> String {
        match self.expected {
            Some(expected) if self.ratio() >= expected => format!("{expected:.2} holds"),
            Some(expected) => format!("{expected:.2} MISSED"),
            None => "-".to_owned(),
        }
    }

    fn spread(&self) -> String {
        let ratios = &self.comparison.ratios;
        let min = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let max = ratios.iter().copied().fold(0.0, f64::max);
        format!("{min:.2}-{max:.2}")
    }
}

/// All results and a description of the machine.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
    /// Additional lines below the table.
    pub notes: Vec<String>,
    /// The description of versions and machine.
    pub about: String,
}

impl Report {
    /// Adds a measurement.
    pub fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Returns an error if a measurement had unexpected responses, which make its numbers
    /// meaningless.
    pub fn check(&self) -> anyhow::Result<()> {
        for Row { name, comparison, .. } in &self.rows {
            let failures = comparison.failures;
            ensure!(failures == 0, "{name}: {failures} unexpected responses");
        }
        Ok(())
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<22} {:>10} {:<17} {:>7}  {:>6} {:>10} {:>6}  {:<12} {:>15} {:>15}",
            "",
            "mayfly/s",
            "  against",
            "/s",
            "ratio",
            "spread",
            "CPU",
            "expected",
            "p50 p99 ms",
            "theirs"
        )?;
        for row in &self.rows {
            let comparison = &row.comparison;
            writeln!(
                f,
                "{:<22} {:>10.0}   {:<15} {:>7.0}  {:>6.2} {:>10} {:>6}  {:<12} {:>15} {:>15}",
                row.name,
                comparison.mayfly,
                row.baseline_name,
                comparison.baseline,
                row.ratio(),
                row.spread(),
                row.cpu_ratio(),
                row.verdict(),
                format_latency(comparison.latency),
                format_latency(comparison.baseline_latency),
            )?;
        }
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        write!(f, "\n{}", self.about)
    }
}

fn format_latency(latency: Option<(Duration, Duration)>) -> String {
    let ms = |duration: Duration| duration.as_secs_f64() * 1_000.0;
    latency.map_or_else(|| "-".to_owned(), |(p50, p99)| format!("{:.2} {:.2}", ms(p50), ms(p99)))
}
