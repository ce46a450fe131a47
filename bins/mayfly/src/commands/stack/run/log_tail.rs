//! Follows the logs of the services and prefixes each line with the name of its process.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mayfly_stack::Service;
use tokio::time::sleep;

const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The maximum number of bytes that are read from each log per poll, so that a flood in one log
/// does not delay the others.
const CHUNK_BYTES_MAX: u64 = 256 * 1024;

/// A follower of the logs of the services.
#[derive(Debug)]
pub(super) struct LogTail {
    dir: PathBuf,
    offsets: HashMap<PathBuf, u64>,
}

impl LogTail {
    /// Creates a follower that starts at the current end of every log.
    pub(super) fn from_now(dir: PathBuf) -> Self {
        let sizes = list_logs(&dir)
            .into_iter()
            .map(|path| (path.clone(), path.metadata().map_or(0, |log| log.len())));
        Self { offsets: sizes.collect(), dir }
    }

    /// Prints new lines until standard output is closed.
    pub(super) async fn follow(&mut self) {
        while self.print_new_lines().is_ok() {
            sleep(POLL_INTERVAL).await;
        }
    }

    fn print_new_lines(&mut self) -> io::Result<()> {
        for path in list_logs(&self.dir) {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let offset = self.offsets.entry(path.clone()).or_default();
            // A missing log is being rotated. The next poll finds the new log.
            let text = read_lines(&path, offset).unwrap_or_default();
            let mut out = io::stdout().lock();
            for line in text.lines() {
                writeln!(out, "{name:<16}| {line}")?;
            }
        }
        Ok(())
    }
}

/// Reads complete lines from an offset and advances the offset. Starts at 0 if the log is shorter
/// than the offset, which means that the log was rotated. Reads a line that is longer than
/// [`CHUNK_BYTES_MAX`] in parts.
fn read_lines(path: &Path, offset: &mut u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() < *offset {
        *offset = 0;
    }
    file.seek(SeekFrom::Start(*offset))?;
    let mut bytes = Vec::new();
    let read = file.take(CHUNK_BYTES_MAX).read_to_end(&mut bytes)?;
    let complete = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let is_truncated = complete == 0 && read as u64 == CHUNK_BYTES_MAX;
    bytes.truncate(if is_truncated { read } else { complete });
    *offset += bytes.len() as u64;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Lists the logs of all service instances, excluding rotated logs.
fn list_logs(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut logs: Vec<_> = files.filter(|path| is_service_log(path)).collect();
    logs.sort();
    logs
}

fn is_service_log(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".log") && Service::ALL.iter().any(|service| name.starts_with(service.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_lines_are_read_once() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("list-api.log");
        let mut offset = 0;
        fs::write(&path, "one\ntw").expect("written");
        assert_eq!(read_lines(&path, &mut offset).expect("read"), "one\n");
        fs::write(&path, "one\ntwo\n").expect("written");
        assert_eq!(read_lines(&path, &mut offset).expect("read"), "two\n");
        fs::write(&path, "new\n").expect("written");
        assert_eq!(read_lines(&path, &mut offset).expect("read"), "new\n", "the log was rotated");
    }

    #[test]
    fn only_service_logs_are_listed() {
        assert!(is_service_log(Path::new("/x/ws-fanout-2.log")));
        assert!(!is_service_log(Path::new("/x/postgres.log")));
        assert!(!is_service_log(Path::new("/x/ws-fanout.log.1")));
    }
}
