//! The checkout in which a command runs.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::StackError;
use crate::files::paths::Paths;

/// A checkout, with the paths of its stack and its binaries.
#[derive(Debug)]
pub struct Checkout {
    /// The file paths of the stack.
    pub paths: Paths,
    /// The directory of the binaries.
    pub bin_dir: PathBuf,
}

impl Checkout {
    /// Finds the checkout that contains the working directory and changes to the root of the
    /// checkout, because the path of the control socket is relative.
    pub fn enter() -> Result<Self, StackError> {
        let working_dir = std::env::current_dir().map_err(StackError::io("working directory"))?;
        let root = find_root(&working_dir).to_owned();
        std::env::set_current_dir(&root).map_err(StackError::io(&root))?;
        let program = std::env::current_exe().map_err(StackError::io("path of this program"))?;
        let bin_dir = program.parent().unwrap_or(Path::new("/")).to_owned();
        Ok(Self { paths: Paths::new(root), bin_dir })
    }

    /// Acquires the lock of the checkout, which a supervisor holds for its lifetime. Returns `None`
    /// if another process holds the lock. Closing the file releases the lock.
    pub fn lock(&self) -> Result<Option<File>, StackError> {
        let dir = self.paths.data_dir();
        std::fs::create_dir_all(&dir).map_err(StackError::io(&dir))?;
        let path = self.paths.lock();
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(StackError::io(&path))?;
        Ok(file.try_lock().is_ok().then_some(file))
    }

    /// Returns whether a supervisor runs in this checkout.
    pub fn is_supervised(&self) -> bool {
        match File::open(self.paths.lock()) {
            Ok(file) => file.try_lock().is_err(),
            Err(_) => false,
        }
    }
}

/// Returns `dir` or its nearest ancestor that contains `Cargo.lock`. Returns `dir` if none does.
fn find_root(dir: &Path) -> &Path {
    dir.ancestors().find(|dir| dir.join("Cargo.lock").is_file()).unwrap_or(dir)
}
