//! The layout of the source tree.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::root;

const MAX_LINES_PER_FILE: usize = 500;
const MAX_MODULES_PER_DIRECTORY: usize = 12;
const MEANINGLESS_NAMES: [&str; 7] =
    ["common", "helper", "helpers", "misc", "types", "util", "utils"];

/// Returns all directories below `directory`, including itself.
fn directories(directory: &Path) -> Vec<PathBuf> {
    let mut pending = vec![directory.to_path_buf()];
    let mut found = Vec::new();
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                pending.push(path);
            }
        }
        found.push(directory);
    }
    found
}

/// Returns all directories of Rust code in the workspace.
fn source_directories() -> Vec<PathBuf> {
    let groups = ["crates", "bins", "tests"].map(|group| directories(&root().join(group)));
    let directories: Vec<_> = groups.concat();
    assert!(directories.len() > 50, "only {} directories found", directories.len());
    directories
}

/// Returns the Rust files of a directory.
fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let paths =
        fs::read_dir(directory).expect("readable").map(|entry| entry.expect("readable").path());
    let is_rust = |path: &PathBuf| {
        path.is_file() && path.extension().is_some_and(|extension| extension == "rs")
    };
    paths.filter(is_rust).collect()
}

/// Returns the names of the modules of a directory: its files, and its subdirectories with a
/// `mod.rs`.
fn modules(directory: &Path) -> Vec<String> {
    let mut modules: Vec<_> = fs::read_dir(directory)
        .expect("readable")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| {
            path.extension().is_some_and(|extension| extension == "rs")
                || path.join("mod.rs").is_file()
        })
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .filter(|name| !["lib", "main", "mod"].contains(&name.as_str()))
        .collect();
    modules.sort();
    modules
}

#[test]
fn files_have_at_most_500_lines() {
    for file in source_directories().iter().flat_map(|directory| rust_files(directory)) {
        let lines = fs::read_to_string(&file).expect("valid UTF-8").lines().count();
        assert!(lines <= MAX_LINES_PER_FILE, "{} has {lines} lines", file.display());
    }
}

#[test]
fn directories_have_at_most_12_modules() {
    for directory in source_directories() {
        let modules = modules(&directory);
        assert!(
            modules.len() <= MAX_MODULES_PER_DIRECTORY,
            "{} has {} modules; group them by subject: {modules:?}",
            directory.display(),
            modules.len()
        );
    }
}

#[test]
fn module_names_are_specific() {
    for directory in source_directories() {
        for module in modules(&directory) {
            assert!(
                !MEANINGLESS_NAMES.contains(&module.as_str()),
                "{}/{module}: name the module after its subject",
                directory.display()
            );
        }
    }
}

/// A module with submodules is a `mod.rs`, not a file beside its directory.
#[test]
fn modules_with_submodules_use_mod_rs() {
    for directory in source_directories() {
        for file in rust_files(&directory) {
            let submodules = file.with_extension("");
            let is_crate_root = file.ends_with("lib.rs") || file.ends_with("main.rs");
            assert!(
                is_crate_root || rust_files_below(&submodules) == 0,
                "{} has submodules: move it to {}/mod.rs",
                file.display(),
                submodules.display()
            );
        }
    }
}

fn rust_files_below(directory: &Path) -> usize {
    if directory.is_dir() { rust_files(directory).len() } else { 0 }
}
