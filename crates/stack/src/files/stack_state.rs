//! The addresses and PIDs of a running stack.

use std::collections::BTreeMap;
use std::path::PathBuf;

use parking_lot::Mutex;

use crate::files::stack_env::StackEnv;
use crate::topology::addresses::Addresses;
use crate::topology::instance::Instance;

/// The addresses and PIDs of a stack. Every change is written to `stack.env`.
#[derive(Debug)]
pub(crate) struct StackState {
    path: PathBuf,
    content: Mutex<Content>,
}

#[derive(Debug, Default)]
struct Content {
    addresses: Addresses,
    pids: BTreeMap<Instance, u32>,
    written: Option<StackEnv>,
}

impl StackState {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, content: Mutex::default() }
    }

    pub(crate) fn set_addresses(&self, addresses: Addresses) {
        let mut content = self.content.lock();
        content.addresses = addresses;
        self.write(&mut content);
    }

    pub(crate) fn addresses(&self) -> Addresses {
        self.content.lock().addresses.clone()
    }

    pub(crate) fn set_pid(&self, instance: Instance, pid: Option<u32>) {
        let mut content = self.content.lock();
        match pid {
            Some(pid) => content.pids.insert(instance, pid),
            None => content.pids.remove(&instance),
        };
        self.write(&mut content);
    }

    pub(crate) fn env(&self) -> StackEnv {
        let content = self.content.lock();
        StackEnv::new(&content.addresses, &content.pids)
    }

    /// Writes `stack.env` if its content has changed. A failure is only logged, because a full disk
    /// must not stop a running process.
    fn write(&self, content: &mut Content) {
        let env = StackEnv::new(&content.addresses, &content.pids);
        if content.written.as_ref() == Some(&env) {
            return;
        }
        match env.write(&self.path) {
            Ok(()) => content.written = Some(env),
            Err(error) => {
                let path = self.path.display();
                tracing::error!(%error, %path, "supervisor cannot write stack.env; its addresses and PIDs are outdated");
            }
        }
    }
}
