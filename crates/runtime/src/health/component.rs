//! A component that a service depends on, such as Redis.

use std::{
    fmt::Display,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

use super::report::{ComponentReport, ComponentStatus};
use crate::{outage_log::REPEAT_INTERVAL, redact, ticker};

/// The interval between two checks.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Whether a service can work without a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Criticality {
    /// Without the component, the service is not ready.
    Required,
    /// Without the component, the service is degraded.
    Optional,
}

/// A component of a process. Clones share one state.
#[derive(Clone, Debug)]
pub struct Component {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: &'static str,
    criticality: Criticality,
    /// Mirrors `state`, because `mark_up` is called after every success and must not take a lock.
    is_up: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    NotChecked,
    Up,
    Down(Outage),
}

/// The time during which a component is down.
#[derive(Debug)]
struct Outage {
    reason: String,
    since: Instant,
    logged_at: Instant,
    failed_checks: u64,
}

impl Component {
    pub(super) fn new(name: &'static str, criticality: Criticality) -> Self {
        let state = Mutex::new(State::NotChecked);
        Self { inner: Arc::new(Inner { name, criticality, is_up: AtomicBool::new(false), state }) }
    }

    /// Runs `check` immediately and then once a second, records its result, and sets the gauge
    /// named `gauge` to 1 while the component is up, else to 0. Runs until the future is dropped.
    pub async fn watch<E: Display>(
        self,
        gauge: &'static str,
        mut check: impl AsyncFnMut() -> Result<(), E>,
    ) {
        let mut ticks = ticker(CHECK_INTERVAL);
        loop {
            ticks.tick().await;
            match check().await {
                Ok(()) => self.mark_up(),
                Err(error) => self.mark_down(error.to_string()),
            }
            metrics::gauge!(gauge).set(f64::from(u8::from(self.is_up())));
        }
    }

    /// Records that the component responds. Costs one atomic load if the component is already up.
    pub fn mark_up(&self) {
        if self.is_up() {
            return;
        }
        let mut state = self.inner.state.lock();
        self.inner.is_up.store(true, Ordering::Release);
        match std::mem::replace(&mut *state, State::Up) {
            State::Up => {}
            State::NotChecked => info!(component = self.inner.name, "component is up"),
            State::Down(Outage { since, failed_checks, .. }) => info!(
                component = self.inner.name,
                checks.failed = failed_checks,
                seconds = since.elapsed().as_secs(),
                "component is up again"
            ),
        }
    }

    /// Records that the component does not respond, and why. The log states it when an outage
    /// begins and once a minute while it lasts. Connection strings in `reason` are redacted.
    pub fn mark_down(&self, reason: impl Into<String>) {
        let reason = reason.into();
        let reason = redact(&reason).into_owned();
        let consequence = match self.inner.criticality {
            Criticality::Required => "the service is not ready",
            Criticality::Optional => "the service is degraded",
        };
        let component = self.inner.name;
        let now = Instant::now();
        let mut state = self.inner.state.lock();
        self.inner.is_up.store(false, Ordering::Release);
        if let State::Down(outage) = &mut *state {
            outage.failed_checks += 1;
            outage.reason = reason;
            if now.duration_since(outage.logged_at) >= REPEAT_INTERVAL {
                outage.logged_at = now;
                warn!(
                    component,
                    reason = outage.reason,
                    checks.failed = outage.failed_checks,
                    seconds = outage.since.elapsed().as_secs(),
                    "component is still down; {consequence} and keeps retrying"
                );
            }
            return;
        }
        warn!(component, reason, "component is down; {consequence} and keeps retrying");
        *state = State::Down(Outage { reason, since: now, logged_at: now, failed_checks: 1 });
    }

    /// Returns whether the last check succeeded.
    pub fn is_up(&self) -> bool {
        self.inner.is_up.load(Ordering::Acquire)
    }

    pub(super) fn name(&self) -> &'static str {
        self.inner.name
    }

    pub(super) fn criticality(&self) -> Criticality {
        self.inner.criticality
    }

    pub(super) fn report(&self) -> ComponentReport {
        let reason = match &*self.inner.state.lock() {
            State::Up => return ComponentReport { status: ComponentStatus::Up, reason: None },
            State::NotChecked => "not checked yet".to_owned(),
            State::Down(outage) => outage.reason.clone(),
        };
        ComponentReport { status: ComponentStatus::Down, reason: Some(reason) }
    }
}
