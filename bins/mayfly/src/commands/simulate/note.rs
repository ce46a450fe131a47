//! What a simulation has found, noted in a file while the stack is changed: one that is killed puts nothing back.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use mayfly_stack::{Part, Spec};
use serde::{Deserialize, Serialize};

use crate::output::remark;

/// The stack as it was before a simulation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Found {
    pub(super) spec: Spec,
    /// What an operator had stopped.
    pub(super) stopped: Vec<Part>,
}

/// The file, which is there from before the first change until all is put back.
#[derive(Debug)]
pub(in crate::commands) struct Note {
    path: PathBuf,
}

/// What stands in it.
#[derive(Serialize, Deserialize)]
struct Noted<F, S> {
    found: F,
    /// What the stack is brought to.
    changed: S,
}

impl Note {
    /// The one of a stack, in its home.
    pub(in crate::commands) fn of(home: &Path) -> Self {
        Self { path: home.join("simulate.json") }
    }

    /// What the simulation had found that was killed: the spec in force is the one that it made, or the one from before
    /// where it was killed while it changed the stack or put it back. Any other means that somebody has brought the
    /// stack to what it should be since: then the note is past.
    pub(super) fn read(&self, in_force: &Spec) -> Option<Found> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => return self.ignore(&error),
        };
        match serde_json::from_slice::<Noted<Found, Spec>>(&text) {
            Ok(Noted { found, changed }) => {
                (changed == *in_force || found.spec == *in_force).then_some(found)
            }
            Err(error) => self.ignore(&error),
        }
    }

    fn ignore(&self, error: &dyn std::error::Error) -> Option<Found> {
        remark(&format!("{} is ignored: {error}", self.path.display()));
        None
    }

    /// Notes what was found, and what the stack is about to be brought to. It holds keys, so only its owner may read
    /// it.
    pub(super) fn write(&self, found: &Found, changed: &Spec) -> Result<()> {
        let name = || self.path.display().to_string();
        let text = serde_json::to_vec(&Noted { found, changed })?;
        let new = self.path.with_extension("json.new");
        let mut options = File::options();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&new).and_then(|mut file| file.write_all(&text)).with_context(name)?;
        fs::rename(&new, &self.path).with_context(name)
    }

    /// Deletes it, if it is there.
    pub(in crate::commands) fn delete(&self) -> Result<()> {
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
    fn what_was_found_is_read_again_unless_another_spec_is_in_force() {
        let home = tempfile::tempdir().expect("a directory");
        let note = Note::of(home.path());
        let spec = Spec::new("/checkout", "/bin");
        let changed = spec.clone().with_scale(Service::PersistWorker, 2);
        assert_eq!(note.read(&changed), None);
        let found = Found { spec, stopped: vec![Part::Redis, Service::ListApi.into()] };
        note.write(&found, &changed).expect("it is written");
        assert_eq!(note.read(&changed).as_ref(), Some(&found));
        // It was killed before all was changed, or before all was put back.
        assert_eq!(note.read(&found.spec).as_ref(), Some(&found));
        let other = changed.clone().with_scale(Service::ListApi, 3);
        assert_eq!(note.read(&other), None);
        fs::write(&note.path, "{}").expect("it can be written");
        assert_eq!(note.read(&changed), None);
        note.delete().expect("it is there");
        note.delete().expect("it need not be there");
    }
}
