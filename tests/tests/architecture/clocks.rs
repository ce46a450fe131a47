//! Decisions about time use the clock of Redis or Postgres, not that of a process.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::root;

/// The system clock itself, and the store that compares it with the clock of Redis.
const READERS: [&str; 3] = [
    "crates/core/src/clock/mod.rs",
    "crates/core/src/lib.rs",
    "crates/hot/src/connection/store.rs",
];

/// Returns all Rust files below a directory.
fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Two processes whose clocks differ would trim, expire or publish differently.
#[test]
fn services_do_not_read_the_system_clock() {
    let mut files = Vec::new();
    for group in ["crates", "bins"] {
        for entry in fs::read_dir(root().join(group)).expect("readable") {
            let sources = entry.expect("readable").path().join("src");
            if sources.is_dir() {
                files.extend(rust_files(&sources));
            }
        }
    }
    assert!(files.len() > 200, "only {} files found", files.len());
    for file in files {
        let text = fs::read_to_string(&file).expect("valid UTF-8");
        // Unit tests may read it.
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let is_reader = READERS.iter().any(|reader| file.ends_with(reader));
        assert!(
            is_reader || !code.contains("SystemClock"),
            "{} reads the system clock: use `HotStore::clock`, or `now()` in SQL",
            file.display()
        );
    }
}
