//! The machine-readable report: four lines of JSON.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

/// A report file, which is replaced atomically.
#[derive(Debug)]
pub(super) struct ReportFile {
    path: PathBuf,
    /// The path of the temporary file, which is renamed when the report is complete.
    new: PathBuf,
    file: File,
}

/// The number of plays for each video.
pub(super) type Counts = BTreeMap<String, u64>;

/// A line of the report.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ReportLine<'a> {
    /// The accepted plays.
    Produced(&'a Counts),
    /// The counts in Postgres.
    Counted(&'a Counts),
    /// The last published counts.
    Published(&'a Counts),
    /// The throughput and the consumption times.
    Consumption(&'a ConsumptionReport),
}

/// The throughput of counting and the consumption times.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct ConsumptionReport {
    pub(super) mode: Mode,
    /// The number of plays.
    pub(super) messages: u64,
    /// The time until all plays were counted, in seconds.
    pub(super) seconds: f64,
    /// The number of counted plays per second.
    pub(super) rate: f64,
    /// The consumption time of the most recently counted play, in milliseconds.
    pub(super) latest_ms: Option<u64>,
    /// The average consumption time, in milliseconds.
    pub(super) average_ms: Option<f64>,
    /// The median consumption time, in milliseconds.
    pub(super) p50_ms: Option<f64>,
    /// The 99th percentile of the consumption times, in milliseconds.
    pub(super) p99_ms: Option<f64>,
    /// The number of frames that contain simulated videos.
    pub(super) frames: u64,
}

/// The mode of a simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    /// Counting starts after all plays have been queued.
    BackedUp,
    /// Plays are counted as they arrive.
    Live,
}

impl ReportFile {
    /// Creates the temporary file, so that an invalid path is reported before the simulation
    /// starts.
    pub(super) fn prepare(path: &Path) -> Result<Self> {
        let name = || format!("--report {}", path.display());
        let path = std::path::absolute(path).with_context(name)?;
        ensure!(!path.exists() || path.is_file(), "{}: not a regular file", name());
        let file_name = path.file_name().with_context(name)?.to_string_lossy().into_owned();
        let new = path.with_file_name(format!(".{file_name}.{}", std::process::id()));
        let file = File::create(&new).with_context(name)?;
        Ok(Self { path, new, file })
    }

    /// Writes all lines and replaces the file.
    pub(super) fn write(&self, lines: &[ReportLine<'_>]) -> Result<()> {
        let name = || self.path.display().to_string();
        let mut file = BufWriter::new(&self.file);
        for line in lines {
            serde_json::to_writer(&mut file, line).with_context(name)?;
            file.write_all(b"\n").with_context(name)?;
        }
        file.flush().with_context(name)?;
        fs::rename(&self.new, &self.path).with_context(name)
    }
}

impl Drop for ReportFile {
    /// Deletes the temporary file if the report was not written.
    fn drop(&mut self) {
        let _renamed = fs::remove_file(&self.new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("it can be listed");
        let name =
            |entry: std::io::Result<fs::DirEntry>| entry.expect("it can be read").file_name();
        entries.map(|entry| name(entry).to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn report_has_four_lines() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("report.jsonl");
        let counts = |count| Counts::from([("sim-a".to_owned(), count), ("sim-b".to_owned(), 2)]);
        let consumption = ConsumptionReport {
            mode: Mode::BackedUp,
            messages: 3,
            seconds: 1.5,
            rate: 2.0,
            latest_ms: Some(7),
            average_ms: Some(6.5),
            p50_ms: None,
            p99_ms: Some(7.0),
            frames: 1,
        };
        let report = ReportFile::prepare(&path).expect("it can be written");
        let lines = [
            ReportLine::Produced(&counts(1)),
            ReportLine::Counted(&counts(1)),
            ReportLine::Published(&counts(0)),
            ReportLine::Consumption(&consumption),
        ];
        report.write(&lines).expect("it is written");
        drop(report);
        let expected = [
            r#"{"produced":{"sim-a":1,"sim-b":2}}"#,
            r#"{"counted":{"sim-a":1,"sim-b":2}}"#,
            r#"{"published":{"sim-a":0,"sim-b":2}}"#,
            r#"{"consumption":{"mode":"backed_up","messages":3,"seconds":1.5,"rate":2.0,"latest_ms":7,"average_ms":6.5,"p50_ms":null,"p99_ms":7.0,"frames":1}}"#,
        ];
        let written = fs::read_to_string(&path).expect("the report exists");
        assert_eq!(written.lines().collect::<Vec<_>>(), expected);
        assert_eq!(list(dir.path()), ["report.jsonl"]);
    }

    #[test]
    fn earlier_report_stays_until_the_new_one_is_written() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("report.jsonl");
        fs::write(&path, "earlier report").expect("it can be written");
        drop(ReportFile::prepare(&path).expect("it can be written"));
        assert_eq!(fs::read_to_string(&path).expect("the report exists"), "earlier report");
        assert_eq!(list(dir.path()), ["report.jsonl"]);
    }

    #[test]
    fn unwritable_file_is_rejected_with_its_path() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for path in [dir.path().to_owned(), dir.path().join("none/report"), "/dev/null".into()] {
            let error = ReportFile::prepare(&path).expect_err("it cannot be written");
            assert!(format!("{error:#}").contains(&path.display().to_string()), "{error:#}");
        }
    }
}
