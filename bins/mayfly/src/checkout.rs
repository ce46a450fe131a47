//! The checkout that a command is run in.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use mayfly_stack::Paths;

/// The checkout, where the stack keeps its data, and where the binaries are.
#[derive(Debug)]
pub(crate) struct Checkout {
    pub(crate) paths: Paths,
    pub(crate) bin_dir: PathBuf,
}

impl Checkout {
    /// Finds the checkout that the working directory is in, and goes there: the way to the control socket has to be
    /// short, however long the way to the checkout is.
    pub(crate) fn enter() -> Result<Self> {
        let here = std::env::current_dir().context("the working directory")?;
        let root = find_root(&here).to_owned();
        std::env::set_current_dir(&root).with_context(|| root.display().to_string())?;
        let program = std::env::current_exe().context("the path of this program")?;
        let bin_dir = program.parent().unwrap_or(Path::new("/")).to_owned();
        Ok(Self { paths: Paths::new(root), bin_dir })
    }

    /// Whether a supervisor runs here.
    pub(crate) fn is_supervised(&self) -> bool {
        match File::open(self.paths.lock()) {
            Ok(file) => file.try_lock().is_err(),
            Err(_) => false,
        }
    }
}

/// The nearest directory above that is a workspace; else where we are.
fn find_root(here: &Path) -> &Path {
    here.ancestors().find(|dir| dir.join("Cargo.lock").is_file()).unwrap_or(here)
}
