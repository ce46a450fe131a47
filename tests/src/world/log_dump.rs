//! Prints the services' last warnings and errors when a test fails.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use mayfly_stack::{Paths, Service};

const MAX_LINES: usize = 30;

/// A guard that prints the last warnings and errors of all services when a panicking test drops it.
/// Of all clones, only the first one dropped this way prints.
#[derive(Clone)]
pub struct LogDump {
    root: PathBuf,
    is_printed: Arc<AtomicBool>,
}

impl LogDump {
    /// Creates a guard for the logs of the stack below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), is_printed: Arc::default() }
    }

    /// Returns the last warnings and errors, sorted by the timestamp that each line begins with.
    fn read(&self) -> Vec<String> {
        let logs = Paths::new(&self.root).logs();
        let logs = std::fs::read_dir(logs).into_iter().flatten().flatten();
        let service_logs = logs.filter(|log| {
            let name = log.file_name();
            let name = name.to_string_lossy();
            Service::ALL.iter().any(|service| name.starts_with(service.name()))
        });
        let mut lines = Vec::new();
        for log in service_logs {
            let name = log.path().with_extension("");
            let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = std::fs::read(log.path()).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let severe =
                text.lines().filter(|line| line.contains("WARN ") || line.contains("ERROR "));
            lines.extend(severe.map(|line| (line.to_owned(), name.clone())));
        }
        lines.sort();
        let last = lines.split_off(lines.len().saturating_sub(MAX_LINES));
        last.into_iter().map(|(line, name)| format!("{name}: {line}")).collect()
    }
}

impl Drop for LogDump {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.is_printed.swap(true, Ordering::Relaxed) {
            let lines = self.read();
            if !lines.is_empty() {
                println!("the last warnings and errors of the services:\n{}", lines.join("\n"));
            }
        }
    }
}
