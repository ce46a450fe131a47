//! The state of the stack before a simulation. A file stores this state until the stack is
//! restored, so that the next simulation can restore the stack if the current simulation is killed.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use mayfly_live_client::terminal::print_err;
use mayfly_stack::{ProcessKind, Spec};
use serde::{Deserialize, Serialize};

/// The state of the stack before a simulation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedStack {
    pub(crate) spec: Spec,
    /// The services and servers that an operator had stopped.
    pub(crate) stopped: Vec<ProcessKind>,
}

/// The file that contains the saved state. The file exists from the first change until the stack is
/// restored, `mayfly up` applies a spec, or `mayfly reset` deletes the data.
#[derive(Debug)]
pub struct SavedStackFile {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Content<S, C> {
    saved: S,
    /// The spec for the simulation.
    changed: C,
}

impl SavedStackFile {
    /// Returns the file in the data directory of a stack.
    pub fn new(data_dir: &Path) -> Self {
        Self { path: data_dir.join("simulate.json") }
    }

    /// Reads the state that a killed simulation saved. Returns `None` if there is no file, the file
    /// cannot be read or parsed, or the state is not relevant.
    ///
    /// The state is relevant if the current spec is the spec that the simulation applied. It is
    /// also relevant if the current spec is the saved spec, because the simulation may have been
    /// killed while it changed or restored the stack. Any other spec was applied later by another
    /// command.
    pub(crate) fn read(&self, current: &Spec) -> Option<SavedStack> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => return self.ignore(&error),
        };
        match serde_json::from_slice::<Content<SavedStack, Spec>>(&text) {
            Ok(Content { saved, changed }) => {
                (changed == *current || saved.spec == *current).then_some(saved)
            }
            Err(error) => self.ignore(&error),
        }
    }

    /// Returns the spec from before a killed simulation, if the saved state is still relevant.
    pub fn read_spec(&self, current: &Spec) -> Option<Spec> {
        self.read(current).map(|saved| saved.spec)
    }

    fn ignore(&self, error: &dyn std::error::Error) -> Option<SavedStack> {
        print_err(&format!("ignoring {}: {error}", self.path.display()));
        None
    }

    /// Saves the state and the spec that is about to be applied, and replaces the file atomically.
    /// Only the owner can read the file, because it contains credentials.
    pub(crate) fn write(&self, saved: &SavedStack, changed: &Spec) -> Result<()> {
        let name = || self.path.display().to_string();
        let text = serde_json::to_vec(&Content { saved, changed })?;
        let new = self.path.with_extension("json.new");
        let mut options = File::options();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&new).and_then(|mut file| file.write_all(&text)).with_context(name)?;
        fs::rename(&new, &self.path).with_context(name)
    }

    /// Deletes the file if it exists.
    pub fn delete(&self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| self.path.display().to_string())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use mayfly_stack::Service;

    use super::*;

    #[test]
    fn saved_state_is_read_unless_another_spec_was_applied() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = SavedStackFile::new(dir.path());
        let spec = Spec::new("/checkout", "/bin");
        let changed = spec.clone().with_scale(Service::PersistWorker, 2);
        assert_eq!(file.read(&changed), None);
        let stopped = vec![ProcessKind::Redis, Service::ListApi.into()];
        let saved = SavedStack { spec, stopped };
        file.write(&saved, &changed).expect("written");
        assert_eq!(file.read(&changed).as_ref(), Some(&saved));
        // The simulation was killed before the change was applied, or during the restore.
        assert_eq!(file.read(&saved.spec).as_ref(), Some(&saved));
        let other = changed.clone().with_scale(Service::ListApi, 3);
        assert_eq!(file.read(&other), None);
        fs::write(&file.path, "{}").expect("written");
        assert_eq!(file.read(&changed), None);
        file.delete().expect("the file exists");
        file.delete().expect("a missing file is not an error");
    }
}
