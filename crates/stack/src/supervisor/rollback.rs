//! Restores the processes of a stack after a spec could not be applied.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::process::Launch;
use crate::supervisor::Supervisor;
use crate::topology::addresses::Addresses;
use crate::topology::instance::Instance;

/// The addresses and processes of a stack before a spec is applied.
pub(super) struct Previous {
    /// `None` if no spec has been applied.
    addresses: Option<Addresses>,
    /// The configuration of each process. `None` if an operator has stopped the process.
    launches: BTreeMap<Instance, Option<Arc<Launch>>>,
}

impl Supervisor {
    /// Returns the current addresses and processes.
    pub(super) fn remember(&self) -> Previous {
        let processes = self.processes.lock();
        let launches =
            processes.iter().map(|(instance, process)| (*instance, process.desired_launch()));
        let addresses = self.spec().map(|_| self.state.addresses());
        Previous { addresses, launches: launches.collect() }
    }

    /// Stops the processes that were not running before, and starts the processes that were. Does
    /// not wait until these processes are ready.
    pub(super) async fn roll_back(&self, previous: Previous) {
        let Previous { addresses, launches } = previous;
        self.stop_removed(|instance| launches.contains_key(instance)).await;
        let running: BTreeMap<_, _> = launches
            .iter()
            .filter_map(|(instance, launch)| Some((*instance, launch.clone()?)))
            .collect();
        self.stop_moved(running.iter()).await;
        for (instance, process) in self.list_processes() {
            if launches.get(&instance).is_some_and(Option::is_none) {
                process.stop().await;
            }
        }
        if let Some(addresses) = addresses {
            self.state.set_addresses(addresses);
        }
        self.set_launches(&running);
    }
}
