//! The table.

use std::{
    fmt::{self, Display, Formatter},
    time::Duration,
};

use anyhow::ensure;

use crate::statistics::median;

/// What came out of one measurement.
#[derive(Debug)]
pub struct Measured {
    /// Of each pair of rounds, ours by the other.
    pub ratios: Vec<f64>,
    /// How many a second Mayfly does.
    pub ours: f64,
    /// How many a second the other does.
    pub other: f64,
    /// The latency that half, and 99 in a hundred, stay below.
    pub latency: Option<(Duration, Duration)>,
    /// The same of the other.
    pub other_latency: Option<(Duration, Duration)>,
    /// Answers that were not as they should be.
    pub failures: u64,
}

/// One line of the table.
#[derive(Debug)]
pub struct Row {
    what: &'static str,
    against: &'static str,
    measured: Measured,
    expected: Option<f64>,
}

impl Row {
    /// A measurement against something.
    pub fn new(what: &'static str, against: &'static str, measured: Measured) -> Self {
        Self { what, against, measured, expected: None }
    }

    /// The ratio that is expected at least.
    pub fn expecting(self, ratio: f64) -> Self {
        Self { expected: Some(ratio), ..self }
    }

    fn ratio(&self) -> f64 {
        median(self.measured.ratios.iter().copied())
    }

    fn verdict(&self) -> String {
        match self.expected {
            Some(expected) if self.ratio() >= expected => format!("{expected:.2} holds"),
            Some(expected) => format!("{expected:.2} MISSED"),
            None => "-".to_owned(),
        }
    }

    fn spread(&self) -> String {
        let ratios = &self.measured.ratios;
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let most = ratios.iter().copied().fold(0.0, f64::max);
        format!("{least:.2}-{most:.2}")
    }
}

/// Everything that was measured, and on what.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
    /// What a row has no room for, a line each.
    pub notes: Vec<String>,
    /// Versions and machine.
    pub about: String,
}

impl Report {
    /// Adds a measurement.
    pub fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Looks whether every answer was as it should be: a number made of failures says nothing.
    pub fn check(&self) -> anyhow::Result<()> {
        for Row { what, measured, .. } in &self.rows {
            let failures = measured.failures;
            ensure!(failures == 0, "{what}: {failures} answers were not as they should be");
        }
        Ok(())
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<22} {:>10} {:<15} {:>7}  {:>6} {:>10}  {:<12} {:>15} {:>15}",
            "",
            "mayfly/s",
            "  against",
            "/s",
            "ratio",
            "spread",
            "expected",
            "p50 p99 ms",
            "theirs"
        )?;
        for row in &self.rows {
            let measured = &row.measured;
            writeln!(
                f,
                "{:<22} {:>10.0}   {:<13} {:>7.0}  {:>6.2} {:>10}  {:<12} {:>15} {:>15}",
                row.what,
                measured.ours,
                row.against,
                measured.other,
                row.ratio(),
                row.spread(),
                row.verdict(),
                show_latency(measured.latency),
                show_latency(measured.other_latency),
            )?;
        }
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        write!(f, "\n{}", self.about)
    }
}

fn show_latency(latency: Option<(Duration, Duration)>) -> String {
    let ms = |duration: Duration| duration.as_secs_f64() * 1_000.0;
    latency
        .map_or_else(|| "-".to_owned(), |(half, most)| format!("{:.2} {:.2}", ms(half), ms(most)))
}
