//! Looks once a second whether Redis answers.

use std::time::Duration;

use mayfly_runtime::{Part, every, metrics as names};

use crate::pool::Hot;

const INTERVAL: Duration = Duration::from_secs(1);

impl Hot {
    /// Keeps a part of the readiness, and the gauge beside it, at what Redis answers, until it is
    /// aborted.
    pub async fn watch(self, part: Part) {
        let mut ticks = every(INTERVAL);
        loop {
            ticks.tick().await;
            match self.ping().await {
                Ok(()) => part.up(),
                Err(error) => part.down(error.to_string()),
            }
            metrics::gauge!(names::REDIS_UP).set(f64::from(u8::from(part.is_up())));
        }
    }
}
