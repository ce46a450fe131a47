//! The health check of Postgres.

use std::time::Duration;

use mayfly_runtime::{Component, metrics as names, ticker};

use super::ColdStore;

const INTERVAL: Duration = Duration::from_secs(1);

impl ColdStore {
    /// Pings Postgres every second and reports the result to a component and a gauge. Runs until it
    /// is aborted.
    pub async fn watch(self, component: Component) {
        let mut ticks = ticker(INTERVAL);
        loop {
            ticks.tick().await;
            match self.ping().await {
                Ok(()) => component.mark_up(),
                Err(error) => component.mark_down(error.to_string()),
            }
            metrics::gauge!(names::POSTGRES_UP).set(f64::from(u8::from(component.is_up())));
        }
    }
}
