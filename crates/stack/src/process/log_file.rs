//! The log of one process.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// The size above which a log is rotated when it is opened. One old log is kept.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The maximum number of bytes at the end of a log that are searched for its last lines.
const TAIL_BYTES_MAX: u64 = 16 * 1024;

/// Opens a log for appending, and rotates it first if it is too large.
pub fn open_log(path: &Path) -> io::Result<File> {
    if path.metadata().is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
        fs::rename(path, path.with_extension("log.1"))?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

/// The offset in a log where the output of one process begins.
#[derive(Clone, Debug)]
pub(crate) struct LogMark {
    path: PathBuf,
    offset: u64,
}

impl LogMark {
    /// Marks the current end of a log.
    pub(crate) fn at_end(path: &Path) -> Self {
        Self { path: path.to_owned(), offset: path.metadata().map_or(0, |log| log.len()) }
    }

    /// Returns up to `count` of the last nonempty lines after the mark.
    pub(crate) fn last_lines(&self, count: usize) -> String {
        let text = self.read_tail().unwrap_or_default();
        let lines: Vec<_> =
            text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    fn read_tail(&self) -> io::Result<String> {
        let mut file = File::open(&self.path)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(self.offset.max(size.saturating_sub(TAIL_BYTES_MAX))))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn last_lines_start_after_the_mark() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("x.log");
        writeln!(open_log(&path).expect("opened"), "before the mark").expect("written");
        let mark = LogMark::at_end(&path);
        writeln!(open_log(&path).expect("opened"), "one\n\ntwo\nthree").expect("written");
        assert_eq!(mark.last_lines(2), "two\nthree");
        assert_eq!(mark.last_lines(9), "one\ntwo\nthree");
    }

    #[test]
    fn large_log_is_rotated() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("x.log");
        File::create(&path).and_then(|file| file.set_len(LOG_BYTES_MAX + 1)).expect("created");
        let log = open_log(&path).expect("opened");
        assert_eq!(log.metadata().expect("an open file").len(), 0);
        assert!(dir.path().join("x.log.1").exists());
    }
}
