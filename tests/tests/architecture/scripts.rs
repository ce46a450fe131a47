//! Rules of the Lua scripts.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::root;

/// Returns all scripts below a directory, with their text.
fn scripts(directory: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(scripts(&path));
        } else if path.extension().is_some_and(|extension| extension == "lua") {
            let text = fs::read_to_string(&path).expect("valid UTF-8");
            found.push((path, text));
        }
    }
    found
}

fn all_scripts() -> Vec<(PathBuf, String)> {
    let found = scripts(&root().join("crates/hot/src"));
    assert!(found.len() > 30, "only {} scripts found", found.len());
    found
}

/// A script blocks Redis, so whoever changes one must see what its cost depends on.
#[test]
fn scripts_state_their_complexity() {
    for (path, text) in all_scripts() {
        let stated = text.lines().filter(|line| line.starts_with("-- Complexity: O(")).count();
        assert_eq!(stated, 1, "{}", path.display());
    }
}

/// Redis walks the whole stream to find no entry that is old enough. A script that reads backward
/// from an entry other than the newest must know that an older one exists.
#[test]
fn streams_are_read_backward_only_from_the_newest_entry() {
    for (path, text) in all_scripts() {
        let allowed = if path.ends_with("trim_stream.lua") { 2 } else { 0 };
        assert_eq!(text.matches("'XREVRANGE'").count(), allowed, "{}", path.display());
    }
}
