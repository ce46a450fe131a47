//! Which parts a service stands on, and whether it can do its work.

mod part;
mod report;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::{
    part::{Need, Part},
    report::{PartReport, PartStatus, Report, Status},
};
use crate::Lifecycle;

/// The parts of a process and their state. Clones share one state.
#[derive(Clone, Debug)]
pub struct Health {
    lifecycle: Lifecycle,
    /// In the order of registration; there is a handful.
    parts: Arc<Mutex<Vec<Part>>>,
}

impl Health {
    /// Makes the health of a process without parts.
    pub fn new(lifecycle: Lifecycle) -> Self {
        Self { lifecycle, parts: Arc::default() }
    }

    /// Adds a part, which is down until it says it is up. A name registered again is the same part.
    pub fn register(&self, name: &'static str, need: Need) -> Part {
        let mut parts = self.lock();
        if let Some(part) = parts.iter().find(|part| part.name() == name) {
            return part.clone();
        }
        let part = Part::new(name, need);
        parts.push(part.clone());
        part
    }

    /// Says how every part is and what follows for the whole.
    pub fn report(&self) -> Report {
        let parts = self.lock();
        Report {
            status: self.status(&parts),
            parts: parts.iter().map(|part| (part.name(), part.report())).collect(),
        }
    }

    /// Whether the service can do its work and is not about to leave.
    pub fn is_ready(&self) -> bool {
        self.status(&self.lock()).is_ready()
    }

    fn status(&self, parts: &[Part]) -> Status {
        let down = |need: Need| parts.iter().any(|part| part.need() == need && !part.is_up());
        if self.lifecycle.is_draining() {
            Status::Draining
        } else if down(Need::Required) {
            Status::Unavailable
        } else if down(Need::Useful) {
            Status::Degraded
        } else {
            Status::Ready
        }
    }

    /// A panic elsewhere must not take the health with it: the list is whole between any two lines.
    fn lock(&self) -> MutexGuard<'_, Vec<Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
