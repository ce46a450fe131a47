//! Shows what the services log, each line with the name of its process.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mayfly_stack::Service;
use tokio::time::sleep;

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How much of one log is shown at once, so that a flood in one holds up no other.
const CHUNK_BYTES_MAX: u64 = 256 * 1024;

/// The logs of the services, from where each was when the tail was made.
#[derive(Debug)]
pub(super) struct LogTail {
    dir: PathBuf,
    shown: HashMap<PathBuf, u64>,
}

impl LogTail {
    /// Begins at the present end of every log.
    pub(super) fn from_now(dir: PathBuf) -> Self {
        let sizes = list_logs(&dir)
            .into_iter()
            .map(|path| (path.clone(), path.metadata().map_or(0, |log| log.len())));
        Self { shown: sizes.collect(), dir }
    }

    /// Shows new lines as they come, until it is dropped or nobody reads them.
    pub(super) async fn follow(&mut self) {
        while self.show_new().is_ok() {
            sleep(LOOK_EVERY).await;
        }
    }

    fn show_new(&mut self) -> io::Result<()> {
        for path in list_logs(&self.dir) {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let shown = self.shown.entry(path.clone()).or_default();
            // A log that vanishes while it is read was put aside; the next look finds the new one.
            let text = read_lines(&path, shown).unwrap_or_default();
            let mut out = io::stdout().lock();
            for line in text.lines() {
                writeln!(out, "{name:<16}| {line}")?;
            }
        }
        Ok(())
    }
}

/// Reads whole lines from an offset on, and moves it behind them. A log that was put aside begins anew.
fn read_lines(path: &Path, offset: &mut u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() < *offset {
        *offset = 0;
    }
    file.seek(SeekFrom::Start(*offset))?;
    let mut bytes = Vec::new();
    let read = file.take(CHUNK_BYTES_MAX).read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let is_cut = whole == 0 && read as u64 == CHUNK_BYTES_MAX;
    bytes.truncate(if is_cut { read } else { whole });
    *offset += bytes.len() as u64;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The logs of the services: of every instance, but not what was put aside.
fn list_logs(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut logs: Vec<_> = files.filter(|path| is_log_of_service(path)).collect();
    logs.sort();
    logs
}

fn is_log_of_service(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".log") && Service::ALL.iter().any(|service| name.starts_with(service.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_are_shown_and_each_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("list-api.log");
        let mut offset = 0;
        fs::write(&path, "one\ntw").expect("written");
        assert_eq!(read_lines(&path, &mut offset).expect("read"), "one\n");
        fs::write(&path, "one\ntwo\n").expect("written");
        assert_eq!(read_lines(&path, &mut offset).expect("read"), "two\n");
        fs::write(&path, "new\n").expect("written");
        assert_eq!(read_lines(&path, &mut offset).expect("read"), "new\n", "it was put aside");
    }

    #[test]
    fn only_services_are_shown() {
        assert!(is_log_of_service(Path::new("/x/ws-fanout-2.log")));
        assert!(!is_log_of_service(Path::new("/x/postgres.log")));
        assert!(!is_log_of_service(Path::new("/x/ws-fanout.log.1")));
    }
}
