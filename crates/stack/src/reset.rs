//! Deletes the stack's own data, and nothing else.

use std::fs;
use std::io;
use std::path::Path;

use crate::error::StackError;
use crate::paths::Paths;
use crate::process;

/// Ends what a killed supervisor has left of the stack of a checkout. On Linux the kernel has done so already.
pub async fn end_leftovers(root: &Path) {
    process::end_leftovers(&Paths::new(root).pids()).await;
}

/// Deletes the data, the logs and the addresses of the stack of a checkout, which must be down.
pub fn reset(root: &Path) -> Result<(), StackError> {
    let paths = Paths::new(root);
    for dir in [paths.redis(), paths.postgres(), paths.s3(), paths.logs(), paths.pids()] {
        tolerate_absence(fs::remove_dir_all(&dir)).map_err(StackError::io(&dir))?;
    }
    for file in [paths.stack_env(), paths.home().join("redis.conf")] {
        tolerate_absence(fs::remove_file(&file)).map_err(StackError::io(&file))?;
    }
    reset_elsewhere(&paths)
}

/// Deletes what lies outside the checkout, if it says that it belongs to this one.
fn reset_elsewhere(paths: &Paths) -> Result<(), StackError> {
    let elsewhere = paths.elsewhere();
    let owner = fs::read_to_string(elsewhere.join("checkout")).unwrap_or_default();
    if owner != paths.root().display().to_string() {
        return Ok(());
    }
    tolerate_absence(fs::remove_dir_all(&elsewhere)).map_err(StackError::io(&elsewhere))
}

fn tolerate_absence(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_the_stacks_own_is_left() {
        let root = tempfile::tempdir().expect("a directory");
        let paths = Paths::new(root.path());
        fs::create_dir_all(paths.redis().join("appendonlydir")).expect("made");
        fs::write(root.path().join("Cargo.toml"), "").expect("written");
        fs::write(paths.home().join("report.json"), "").expect("written");
        reset(root.path()).expect("deleted");
        assert!(!paths.redis().exists());
        assert!(
            root.path().join("Cargo.toml").exists() && paths.home().join("report.json").exists()
        );
    }

    #[test]
    fn a_checkout_that_never_ran_has_nothing_to_delete() {
        let root = tempfile::tempdir().expect("a directory");
        reset(root.path()).expect("nothing to do");
    }
}
