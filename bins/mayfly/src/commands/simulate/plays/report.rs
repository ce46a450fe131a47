//! What a run leaves to other programs: four lines of JSON.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

/// The file of a report, which is there whole or not at all.
#[derive(Debug)]
pub(super) struct ReportFile {
    path: PathBuf,
    /// What becomes the file.
    new: PathBuf,
    file: File,
}

/// Plays by video.
pub(super) type Counts = BTreeMap<String, u64>;

/// What is reported.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line<'a> {
    /// What was accepted.
    Produced(&'a Counts),
    /// What Postgres has.
    Counted(&'a Counts),
    /// What subscribers were told last.
    Published(&'a Counts),
    /// How that went.
    Consumption(&'a Consumed),
}

/// How plays were counted.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Consumed {
    /// Whether counting began when all were queued.
    pub(super) mode: Mode,
    /// How many plays.
    pub(super) messages: u64,
    /// In what time they were counted.
    pub(super) seconds: f64,
    /// Plays a second.
    pub(super) rate: f64,
    /// How long the last one waited.
    pub(super) latest_ms: Option<u64>,
    /// How long one waited on the average.
    pub(super) average_ms: Option<f64>,
    /// How long half of them waited at most.
    pub(super) p50_ms: Option<f64>,
    /// How long all but a hundredth waited at most.
    pub(super) p99_ms: Option<f64>,
    /// How many frames told of it.
    pub(super) frames: u64,
}

/// When counting begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    /// When all plays are queued.
    BackedUp,
    /// With the first play.
    Live,
}

impl ReportFile {
    /// Makes sure that a report can be written there.
    pub(super) fn prepare(path: &Path) -> Result<Self> {
        let name = || format!("--report {}", path.display());
        let path = std::path::absolute(path).with_context(name)?;
        ensure!(!path.exists() || path.is_file(), "{}: that is no file", name());
        let file_name = path.file_name().with_context(name)?.to_string_lossy().into_owned();
        let new = path.with_file_name(format!(".{file_name}.{}", std::process::id()));
        let file = File::create(&new).with_context(name)?;
        Ok(Self { path, new, file })
    }

    /// Writes all lines, then shows the file.
    pub(super) fn write(&self, lines: &[Line<'_>]) -> Result<()> {
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
    /// What was not shown is of use to nobody.
    fn drop(&mut self) {
        let _shown = fs::remove_file(&self.new);
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
    fn a_report_is_four_lines() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("report.jsonl");
        let counts = |count| Counts::from([("sim-a".to_owned(), count), ("sim-b".to_owned(), 2)]);
        let consumed = Consumed {
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
            Line::Produced(&counts(1)),
            Line::Counted(&counts(1)),
            Line::Published(&counts(0)),
            Line::Consumption(&consumed),
        ];
        report.write(&lines).expect("it is written");
        drop(report);
        let expected = [
            r#"{"produced":{"sim-a":1,"sim-b":2}}"#,
            r#"{"counted":{"sim-a":1,"sim-b":2}}"#,
            r#"{"published":{"sim-a":0,"sim-b":2}}"#,
            r#"{"consumption":{"mode":"backed_up","messages":3,"seconds":1.5,"rate":2.0,"latest_ms":7,"average_ms":6.5,"p50_ms":null,"p99_ms":7.0,"frames":1}}"#,
        ];
        let written = fs::read_to_string(&path).expect("it is there");
        assert_eq!(written.lines().collect::<Vec<_>>(), expected);
        assert_eq!(list(dir.path()), ["report.jsonl"]);
    }

    #[test]
    fn a_report_that_is_not_written_leaves_what_was_there() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("report.jsonl");
        fs::write(&path, "of the run before").expect("it can be written");
        drop(ReportFile::prepare(&path).expect("it can be written"));
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "of the run before");
        assert_eq!(list(dir.path()), ["report.jsonl"]);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named_at_once() {
        let dir = tempfile::tempdir().expect("a directory");
        for path in [dir.path().to_owned(), dir.path().join("none/report"), "/dev/null".into()] {
            let refused = ReportFile::prepare(&path).expect_err("it cannot be written");
            assert!(format!("{refused:#}").contains(&path.display().to_string()), "{refused:#}");
        }
    }
}
