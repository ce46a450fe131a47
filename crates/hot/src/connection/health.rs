//! The health check of Redis.

use mayfly_runtime::Component;

use crate::connection::{HotStore, metrics as names};

impl HotStore {
    /// Pings Redis once a second and reports the result to a component and a gauge. Runs until it is
    /// aborted.
    pub async fn watch(self, component: Component) {
        component.watch(names::REDIS_UP, async move || self.ping().await).await;
    }
}
