//! Rules of the workspace that the compiler does not check.

mod clocks;
mod dependencies;
mod deployment;
mod documents;
mod feeds;
mod layout;
mod routes;
mod scripts;
mod tasks;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Returns the root directory of the workspace.
fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the package is in the workspace").to_path_buf()
}

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

/// Returns the Rust files in the `src` directories of all crates and binaries, except files that
/// contain only unit tests.
fn product_code() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for group in ["crates", "bins"] {
        for entry in fs::read_dir(root().join(group)).expect("readable") {
            let sources = entry.expect("readable").path().join("src");
            if sources.is_dir() {
                files.extend(rust_files(&sources));
            }
        }
    }
    let root = root();
    files.retain(|file| {
        let path = file.strip_prefix(&root).expect("in the workspace");
        !path.ends_with("tests.rs") && !path.iter().any(|part| part == "tests")
    });
    assert!(files.len() > 200, "only {} files found", files.len());
    files
}

/// Returns all configuration keys as environment variables.
fn configuration_keys() -> BTreeSet<String> {
    let example = mayfly_runtime::render_env_example();
    let keys = example.lines().filter_map(|line| line.split_once('=')).map(|(key, _)| key);
    // Comments name the keys for values in files.
    keys.chain(find_key_names(&example)).map(str::to_owned).collect()
}

/// Returns all words of a text that look like a configuration key in the environment.
fn find_key_names(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("MAYFLY_") && word.contains("__"))
}
