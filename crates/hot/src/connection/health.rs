//! The health check of Redis. It executes the kinds of commands that services use, and reads the
//! configuration of the server.

use std::time::Duration;

use mayfly_runtime::{Component, OutageLog};
use tokio::time::Instant;
use tracing::warn;

use super::{
    clock::ClockMonitor,
    error::is_unavailable_reply,
    server::{AofOperation, ServerInfo},
};
use crate::{
    connection::{HotError, HotStore, millis, script, unexpected_reply},
    metrics as names,
};

script!(PROBE, include_str!("probe.lua"));

/// The time to live of the key that the check writes.
const PROBE_TTL: Duration = Duration::from_secs(5);
/// The interval between checks of the server configuration and of all permissions of the user. If
/// the health check fails, the next health check repeats these checks without waiting.
const CONFIGURATION_INTERVAL: Duration = Duration::from_secs(10);

/// The health components that report whether a service can use Redis.
#[derive(Debug, Clone)]
pub struct RedisComponents {
    /// Down while the service cannot use Redis.
    pub redis: Component,
    /// Down while Redis rejects publications, which delays live delivery but loses nothing. `None`
    /// for a service that publishes nothing.
    pub publications: Option<Component>,
    /// Whether the service is down while Redis is out of memory. If false, the service only reads,
    /// takes and acknowledges, which is possible even if Redis is full.
    pub needs_memory: bool,
}

impl HotStore {
    /// Checks Redis once a second and reports the result to the components and to metrics. Never
    /// completes.
    pub async fn watch(self, components: RedisComponents) {
        let redis = components.redis.clone();
        let mut checks = Checks::new(self, components);
        redis.watch(names::REDIS_UP, async move || checks.run().await).await;
    }
}

/// The checks of one process.
struct Checks {
    store: HotStore,
    components: RedisComponents,
    /// The time of the next check of the configuration and of all permissions.
    configuration_at: Instant,
    /// The number of evicted keys at the last check.
    evicted_keys: Option<u64>,
    /// Whether the warning that the append-only file is off has been logged.
    has_warned: bool,
    aof_errors: OutageLog,
    clock: ClockMonitor,
}

impl Checks {
    fn new(store: HotStore, components: RedisComponents) -> Self {
        Self {
            store,
            components,
            configuration_at: Instant::now(),
            evicted_keys: None,
            has_warned: false,
            aof_errors: OutageLog::new("append-only file of Redis"),
            clock: ClockMonitor::default(),
        }
    }

    /// Runs all checks. The error describes why the service cannot use Redis.
    async fn run(&mut self) -> Result<(), String> {
        let (mut clock, store) = (std::mem::take(&mut self.clock), self.store.clone());
        // The checks run concurrently, so that an outage is detected within one timeout.
        let (checked, clock_checked) = tokio::join!(self.check(), clock.check(&store));
        self.clock = clock;
        let result = checked.and(clock_checked.map_err(|error| error.to_string()));
        if result.is_err() {
            // A different server may answer after the outage.
            self.configuration_at = Instant::now();
        }
        result
    }

    async fn check(&mut self) -> Result<(), String> {
        let is_due = self.configuration_at <= Instant::now();
        if is_due {
            let info = self.store.read_server_info().await.map_err(|error| error.to_string())?;
            self.record(&info);
            if let Some(requirement) = info.find_unmet_requirement(self.store.allows_eviction()) {
                return Err(requirement);
            }
            self.warn_once(&info);
            self.configuration_at = Instant::now() + CONFIGURATION_INTERVAL;
        }
        match self.store.probe(is_due).await {
            Ok(publish_error) => {
                if let Some(component) = &self.components.publications {
                    match publish_error {
                        None => component.mark_up(),
                        Some(cause) => component.mark_down(cause),
                    }
                }
                Ok(())
            }
            Err(HotError::OutOfMemory) if !self.components.needs_memory => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn record(&mut self, info: &ServerInfo) {
        for (name, value) in [
            (names::REDIS_MEMORY_BYTES, info.memory_bytes()),
            (names::REDIS_MEMORY_MAX_BYTES, info.memory_max_bytes()),
        ] {
            if let Some(value) = value {
                metrics::gauge!(name).set(as_f64(value));
            }
        }
        if let Some(evicted) = info.evicted_keys() {
            // The count restarts at zero when the server restarts.
            let before = self.evicted_keys.replace(evicted).unwrap_or(evicted);
            metrics::counter!(names::REDIS_EVICTED_KEYS_TOTAL)
                .increment(evicted.checked_sub(before).unwrap_or(evicted));
        }
        if let Some(is_on) = info.has_append_only_file() {
            metrics::gauge!(names::REDIS_AOF_ENABLED).set(f64::from(u8::from(is_on)));
        }
        let mut failed = Ok(());
        for operation in AofOperation::ALL {
            let has_failed = info.has_failed(operation);
            metrics::gauge!(names::REDIS_AOF_FAILED, "operation" => operation.name())
                .set(f64::from(u8::from(has_failed)));
            if has_failed {
                failed = Err(format!("the last {} failed; see the log of Redis", operation.name()));
            }
        }
        self.aof_errors.record(&failed);
    }

    fn warn_once(&mut self, info: &ServerInfo) {
        let is_off = info.has_append_only_file() == Some(false);
        if is_off && !std::mem::replace(&mut self.has_warned, true) {
            warn!(
                component = "redis",
                "the append-only file of Redis is off: accepted messages that have not been stored \
                 yet can be lost if Redis stops"
            );
        }
    }
}

impl HotStore {
    /// Executes a write with a time to live, two stream commands and a publication. If `tries_all`
    /// is set, also executes the other commands that services use, if a script can run them.
    /// Returns the error from `PUBLISH` if Redis refuses only this command, and `None` if Redis
    /// refuses no command.
    pub(crate) async fn probe(&self, tries_all: bool) -> Result<Option<String>, HotError> {
        let mut call = PROBE.prepare_invoke();
        call.key(self.keys.probe()).key(self.keys.probe_missing());
        call.arg(millis(PROBE_TTL)).arg(self.keys.probe_channel()).arg(u8::from(tries_all));
        let reply: Vec<String> =
            self.call(async |connection| call.invoke_async(connection).await).await?;
        let Some((publish_error, failures)) = reply.split_first() else {
            return Err(unexpected_reply("the reply of the probe is empty").into());
        };
        for failure in failures.chunks_exact(2) {
            // Other failures are expected, because the key does not exist or has the wrong type.
            if is_unavailable_reply(&failure[1]) {
                return Err(HotError::Unavailable(format!("{} ({})", failure[1], failure[0])));
            }
        }
        Ok((!publish_error.is_empty()).then(|| publish_error.clone()))
    }
}

#[expect(clippy::cast_precision_loss, reason = "gauges are doubles")]
fn as_f64(value: u64) -> f64 {
    value as f64
}
