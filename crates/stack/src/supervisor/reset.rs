//! Deletes the data, the logs and the generated files of a stack, and nothing else.

use std::fs;
use std::io;
use std::path::Path;

use crate::error::StackError;
use crate::files::paths::Paths;
use crate::process;

/// Stops the processes that a killed supervisor left behind. On Linux, the kernel has already sent
/// them a signal to stop.
pub async fn stop_orphans(root: &Path) {
    process::stop_orphans(&Paths::new(root).pid_files()).await;
}

/// Deletes the data, the logs and `stack.env` of the stack in the checkout `root`. The stack must
/// be down.
///
/// If this process is killed during the reset, [`complete_reset`] deletes the remaining data, so
/// that no stack starts with only part of its data.
pub fn reset(root: &Path) -> Result<(), StackError> {
    let paths = Paths::new(root);
    if !paths.data_dir().exists() {
        return delete_fallback_dir(&paths);
    }
    let marker = paths.reset_marker();
    fs::write(&marker, "").map_err(StackError::io(&marker))?;
    delete_dir(&paths.logs())?;
    delete_data(&paths)
}

/// Completes a reset that was interrupted because its process was killed. The stack must be down.
pub fn complete_reset(root: &Path) -> Result<(), StackError> {
    let paths = Paths::new(root);
    if paths.reset_marker().exists() { delete_data(&paths) } else { Ok(()) }
}

fn delete_data(paths: &Paths) -> Result<(), StackError> {
    for dir in [paths.redis(), paths.postgres(), paths.s3(), paths.pid_files()] {
        delete_dir(&dir)?;
    }
    delete_fallback_dir(paths)?;
    for file in [paths.stack_env(), paths.redis_config(), paths.reset_marker()] {
        ignore_not_found(fs::remove_file(&file)).map_err(StackError::io(&file))?;
    }
    Ok(())
}

fn delete_dir(dir: &Path) -> Result<(), StackError> {
    ignore_not_found(fs::remove_dir_all(dir)).map_err(StackError::io(dir))
}

/// Deletes the data directory outside the checkout if its file `checkout` names this checkout.
fn delete_fallback_dir(paths: &Paths) -> Result<(), StackError> {
    let dir = paths.fallback_dir();
    let owner = fs::read_to_string(dir.join("checkout")).unwrap_or_default();
    if owner != paths.root().display().to_string() {
        return Ok(());
    }
    // Delete the file `checkout` last, because this file identifies the directory.
    delete_dir(&dir.join("postgres"))?;
    delete_dir(&dir)
}

fn ignore_not_found(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reset_deletes_only_data_of_the_stack() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let paths = Paths::new(root.path());
        fs::create_dir_all(paths.redis().join("appendonlydir")).expect("created");
        fs::write(root.path().join("Cargo.toml"), "").expect("written");
        fs::write(paths.data_dir().join("report.json"), "").expect("written");
        reset(root.path()).expect("deleted");
        assert!(!paths.redis().exists());
        assert!(
            root.path().join("Cargo.toml").exists()
                && paths.data_dir().join("report.json").exists()
        );
    }

    #[test]
    fn interrupted_reset_is_completed() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let paths = Paths::new(root.path());
        fs::create_dir_all(paths.postgres()).expect("created");
        complete_reset(root.path()).expect("nothing to complete");
        assert!(paths.postgres().exists());
        fs::write(paths.reset_marker(), "").expect("written");
        complete_reset(root.path()).expect("completed");
        assert!(!paths.postgres().exists() && !paths.reset_marker().exists());
    }

    #[test]
    fn reset_of_an_unused_checkout_succeeds() {
        let root = tempfile::tempdir().expect("a temporary directory");
        reset(root.path()).expect("nothing to delete");
        assert!(!Paths::new(root.path()).data_dir().exists());
    }
}
