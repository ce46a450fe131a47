//! Looks once a second whether Postgres answers.

use std::time::Duration;

use mayfly_runtime::{Part, every, metrics as names};

use crate::pool::Cold;

const INTERVAL: Duration = Duration::from_secs(1);

impl Cold {
    /// Keeps a part of the readiness, and the gauge beside it, at what Postgres answers, until it is
    /// aborted.
    pub async fn watch(self, part: Part) {
        let mut ticks = every(INTERVAL);
        loop {
            ticks.tick().await;
            match self.ping().await {
                Ok(()) => part.up(),
                Err(error) => part.down(error.to_string()),
            }
            metrics::gauge!(names::POSTGRES_UP).set(f64::from(u8::from(part.is_up())));
        }
    }
}
