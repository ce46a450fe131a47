//! What the services said last, printed where a test fails.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use mayfly_stack::{Paths, Service};

/// How many lines are printed.
const LINES: usize = 30;

/// Belongs to each clone of a Mayfly; the first that is dropped by a test that fails prints the last
/// warnings and errors of all services.
#[derive(Clone)]
pub struct LastWords {
    root: PathBuf,
    are_told: Arc<AtomicBool>,
}

impl LastWords {
    /// Those of the services that have their logs under this root.
    pub fn of(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), are_told: Arc::default() }
    }

    /// Warnings and errors in the order of their times, with which each line begins.
    fn read(&self) -> Vec<String> {
        let logs = Paths::new(&self.root).logs();
        let logs = std::fs::read_dir(logs).into_iter().flatten().flatten();
        let of_services = logs.filter(|log| {
            let name = log.file_name();
            let name = name.to_string_lossy();
            Service::ALL.iter().any(|service| name.starts_with(service.name()))
        });
        let mut lines = Vec::new();
        for log in of_services {
            let name = log.path().with_extension("");
            let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = std::fs::read(log.path()).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let bad = text.lines().filter(|line| line.contains("WARN ") || line.contains("ERROR "));
            lines.extend(bad.map(|line| (line.to_owned(), name.clone())));
        }
        lines.sort();
        let rest = lines.split_off(lines.len().saturating_sub(LINES));
        rest.into_iter().map(|(line, name)| format!("{name}: {line}")).collect()
    }
}

impl Drop for LastWords {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.are_told.swap(true, Ordering::Relaxed) {
            let words = self.read();
            if !words.is_empty() {
                println!("the last warnings and errors of the services:\n{}", words.join("\n"));
            }
        }
    }
}
