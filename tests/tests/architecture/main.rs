//! Rules of the workspace that the compiler does not check.

mod clocks;
mod dependencies;
mod deployment;
mod documents;
mod feeds;
mod layout;
mod routes;
mod scripts;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// Returns the root directory of the workspace.
fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the package is in the workspace").to_path_buf()
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
