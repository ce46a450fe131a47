//! The health check of Redis.

use std::time::Duration;

use mayfly_runtime::{Component, metrics as names, ticker};

use crate::connection::HotStore;

const INTERVAL: Duration = Duration::from_secs(1);

impl HotStore {
    /// Pings Redis once a second and updates the health component and the gauge `mayfly_redis_up`,
    /// until the task is aborted.
    pub async fn watch(self, component: Component) {
        let mut ticks = ticker(INTERVAL);
        loop {
            ticks.tick().await;
            match self.ping().await {
                Ok(()) => component.mark_up(),
                Err(error) => component.mark_down(error.to_string()),
            }
            metrics::gauge!(names::REDIS_UP).set(f64::from(u8::from(component.is_up())));
        }
    }
}
