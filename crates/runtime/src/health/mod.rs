//! The health of a process, derived from the state of its components.

mod component;
mod report;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use parking_lot::Mutex;

pub use self::{
    component::{Component, Criticality},
    report::{ComponentReport, ComponentStatus, HealthReport, HealthStatus},
};
use crate::Lifecycle;

/// The components of a process and their state. Clones share one state.
#[derive(Clone, Debug)]
pub struct Health {
    lifecycle: Lifecycle,
    /// The components in the order of registration. A process has fewer than ten.
    components: Arc<Mutex<Vec<Component>>>,
}

impl Health {
    /// Creates the health of a process without components.
    pub fn new(lifecycle: Lifecycle) -> Self {
        Self { lifecycle, components: Arc::default() }
    }

    /// Adds a component, which is down until it is marked up. Returns the existing component if the
    /// name is already registered.
    pub fn register(&self, name: &'static str, criticality: Criticality) -> Component {
        let mut components = self.components.lock();
        if let Some(component) = components.iter().find(|component| component.name() == name) {
            return component.clone();
        }
        let component = Component::new(name, criticality);
        components.push(component.clone());
        component
    }

    /// Returns the state of every component and the resulting status of the process.
    pub fn report(&self) -> HealthReport {
        let components = self.components.lock();
        HealthReport {
            status: self.status(&components),
            components: components
                .iter()
                .map(|component| (component.name(), component.report()))
                .collect(),
        }
    }

    /// Returns whether all required components are up and the process is not draining.
    pub fn is_ready(&self) -> bool {
        self.status(&self.components.lock()).is_ready()
    }

    fn status(&self, components: &[Component]) -> HealthStatus {
        let is_any_down = |criticality: Criticality| {
            components
                .iter()
                .any(|component| component.criticality() == criticality && !component.is_up())
        };
        if self.lifecycle.is_draining() {
            HealthStatus::Draining
        } else if is_any_down(Criticality::Required) {
            HealthStatus::Unavailable
        } else if is_any_down(Criticality::Optional) {
            HealthStatus::Degraded
        } else {
            HealthStatus::Ready
        }
    }
}
