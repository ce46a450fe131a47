//! What is where, kept in `stack.env` as it changes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::addresses::Addresses;
use crate::instance::Instance;
use crate::stack_env::StackEnv;

/// The addresses and process ids of a stack, written to a file whenever they change.
#[derive(Debug)]
pub(crate) struct Board {
    path: PathBuf,
    content: Mutex<Content>,
}

#[derive(Debug, Default)]
struct Content {
    addresses: Addresses,
    pids: BTreeMap<Instance, u32>,
    written: Option<StackEnv>,
}

impl Board {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, content: Mutex::default() }
    }

    pub(crate) fn set_addresses(&self, addresses: Addresses) {
        let mut content = self.content();
        content.addresses = addresses;
        self.write(&mut content);
    }

    pub(crate) fn set_pid(&self, instance: Instance, pid: Option<u32>) {
        let mut content = self.content();
        match pid {
            Some(pid) => content.pids.insert(instance, pid),
            None => content.pids.remove(&instance),
        };
        self.write(&mut content);
    }

    pub(crate) fn env(&self) -> StackEnv {
        let content = self.content();
        StackEnv::compose(&content.addresses, &content.pids)
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what changed. A disk that refuses must not end a process that runs, so it is only said.
    fn write(&self, content: &mut Content) {
        let env = StackEnv::compose(&content.addresses, &content.pids);
        if content.written.as_ref() == Some(&env) {
            return;
        }
        match env.write(&self.path) {
            Ok(()) => content.written = Some(env),
            Err(error) => {
                tracing::error!(%error, path = %self.path.display(), "stack.env could not be written");
            }
        }
    }
}
