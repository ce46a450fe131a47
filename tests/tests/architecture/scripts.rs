//! Rules of the Lua scripts and of the queries.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use super::root;

/// Returns all files with this extension below a directory, with their text.
fn files(directory: &Path, extension: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|own| own == extension) {
            let text = fs::read_to_string(&path).expect("valid UTF-8");
            found.push((path, text));
        }
    }
    found
}

fn all_scripts() -> Vec<(PathBuf, String)> {
    let found = files(&root().join("crates/hot/src"), "lua");
    assert!(found.len() > 30, "only {} scripts found", found.len());
    found
}

/// A script blocks Redis while it runs, so each script states what its cost depends on.
#[test]
fn scripts_state_their_complexity() {
    for (path, text) in all_scripts() {
        let stated = text.lines().filter(|line| line.starts_with("-- Complexity: O(")).count();
        assert_eq!(stated, 1, "{}", path.display());
    }
}

/// If no entry is old enough, Redis scans the whole stream. A script that reads backward from an
/// entry other than the newest must therefore know that an older entry exists.
#[test]
fn streams_are_read_backward_only_from_the_newest_entry() {
    for (path, text) in all_scripts() {
        let allowed = match path.file_name().and_then(OsStr::to_str) {
            Some("trim_stream.lua") => 2,
            // This script reads a key that does not exist.
            Some("probe.lua") => 1,
            _ => 0,
        };
        assert_eq!(text.matches("'XREVRANGE'").count(), allowed, "{}", path.display());
    }
}

/// The health check tries every command that the services use, because the Redis user may lack the
/// permission for any of them.
#[test]
fn health_check_tries_every_command() {
    let probe = root().join("crates/hot/src/connection/probe.lua");
    let probe = fs::read_to_string(probe).expect("valid UTF-8");
    let mut used = BTreeSet::new();
    for (_, text) in all_scripts() {
        used.extend(find_words(&text, &["call('", "read('"], '\''));
    }
    for (_, text) in files(&root().join("crates/hot/src"), "rs") {
        used.extend(find_words(&text, &["cmd(\""], '"'));
    }
    // Without permission for PING, the connection pool only replaces idle connections.
    used.remove("PING");
    assert!(used.len() > 50, "only {} commands found", used.len());
    let missing: Vec<_> =
        used.iter().filter(|command| !probe.contains(&format!("'{command}'"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Returns the words that follow one of these beginnings, up to `end`.
fn find_words(text: &str, beginnings: &[&str], end: char) -> Vec<String> {
    let rests = beginnings.iter().flat_map(|beginning| text.split(beginning).skip(1));
    rests.filter_map(|rest| Some(rest.split_once(end)?.0.to_owned())).collect()
}

/// Queries run on tables that grow, so each function that runs queries states what their cost
/// depends on.
#[test]
fn queries_state_their_complexity() {
    let mut functions = 0;
    for (path, text) in files(&root().join("crates/cold/src"), "rs") {
        if path.components().any(|part| part.as_os_str() == "store") {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let calls: usize =
            [".call(", ".call_within(", ".read("].iter().map(|one| code.matches(one).count()).sum();
        let stated = code.matches("    /// Complexity: O(").count();
        assert!(stated >= calls, "{}: {stated} stated for {calls} queries", path.display());
        functions += stated;
    }
    assert!(functions > 30, "only {functions} functions found");
}
