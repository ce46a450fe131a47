//! The health check of Postgres.

use mayfly_runtime::Component;

use super::{ColdStore, metrics as names};

impl ColdStore {
    /// Pings Postgres once a second and reports the result to a component and a gauge. Runs until it
    /// is aborted.
    pub async fn watch(self, component: Component) {
        component.watch(names::POSTGRES_UP, async move || self.ping().await).await;
    }
}
