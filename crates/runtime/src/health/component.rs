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
use crate::{
    metrics::COMPONENT_UP,
    outage_log::{Line, OutageState},
    redact, ticker,
};

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

/// A component that a service depends on. Clones share one state.
#[derive(Clone, Debug)]
pub struct Component {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: &'static str,
    criticality: Criticality,
    /// Mirrors `state`, so that `mark_up`, which is called after every success, takes no lock while
    /// the component is up.
    is_up: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    condition: Condition,
    /// The state that limits the log lines about a component that is down, or that repeatedly fails
    /// and recovers.
    outages: OutageState,
}

#[derive(Debug)]
enum Condition {
    NotChecked,
    Up,
    /// The component is down for the given reason.
    Down(String),
}

impl Component {
    pub(super) fn new(name: &'static str, criticality: Criticality) -> Self {
        let state = State { condition: Condition::NotChecked, outages: OutageState::default() };
        let state = Mutex::new(state);
        let inner = Inner { name, criticality, is_up: AtomicBool::new(false), state };
        let component = Self { inner: Arc::new(inner) };
        component.set_up(false);
        component
    }

    /// Records whether the component is up, also as a metric.
    fn set_up(&self, is_up: bool) {
        let Inner { name, criticality, .. } = *self.inner;
        let required = if criticality == Criticality::Required { "true" } else { "false" };
        self.inner.is_up.store(is_up, Ordering::Release);
        metrics::gauge!(COMPONENT_UP, "component" => name, "required" => required)
            .set(f64::from(u8::from(is_up)));
    }

    /// Runs `check` immediately and then once a second, records its result, and sets the gauge
    /// named `gauge` to 1 if the component is up, else to 0. Never completes.
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

    /// Records that the component is up. Costs one atomic load if the component is already up.
    pub fn mark_up(&self) {
        if self.is_up() {
            return;
        }
        let mut state = self.inner.state.lock();
        self.set_up(true);
        let recovered = state.outages.recover();
        match std::mem::replace(&mut state.condition, Condition::Up) {
            Condition::Up => {}
            Condition::NotChecked => info!(component = self.inner.name, "component is up"),
            Condition::Down(_) => {
                if let Some((failed_checks, lasted)) = recovered {
                    info!(
                        component = self.inner.name,
                        checks.failed = failed_checks,
                        seconds = lasted.as_secs(),
                        "component is up again"
                    );
                }
            }
        }
    }

    /// Records that the component is down. Logs `reason` when an outage begins and once a minute
    /// while the outage lasts. If more than five outages begin within a minute, further outages are
    /// logged only if they last for a minute. Connection strings in `reason` are redacted.
    pub fn mark_down(&self, reason: impl Into<String>) {
        let reason = reason.into();
        let reason = redact(&reason).into_owned();
        let consequence = match self.inner.criticality {
            Criticality::Required => "the service is not ready",
            Criticality::Optional => "the service is degraded",
        };
        let component = self.inner.name;
        let mut state = self.inner.state.lock();
        self.set_up(false);
        match state.outages.fail(Instant::now()) {
            Line::Begin => {
                warn!(component, reason, "component is down; {consequence} and keeps retrying");
            }
            Line::Repeat(failed_checks, lasting) => warn!(
                component,
                reason,
                checks.failed = failed_checks,
                seconds = lasting.as_secs(),
                "component is still down; {consequence} and keeps retrying"
            ),
            Line::None => {}
        }
        state.condition = Condition::Down(reason);
    }

    /// Returns whether the component is up. A component that has not been checked counts as down.
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
        let reason = match &self.inner.state.lock().condition {
            Condition::Up => return ComponentReport { status: ComponentStatus::Up, reason: None },
            Condition::NotChecked => "not checked yet".to_owned(),
            Condition::Down(reason) => reason.clone(),
        };
        ComponentReport { status: ComponentStatus::Down, reason: Some(reason) }
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;
    use crate::outage_log::tests::{levels, log_lines};

    fn component() -> Component {
        Component::new("redis", Criticality::Required)
    }

    #[test]
    fn outage_is_logged_when_it_begins_and_ends() {
        let lines = log_lines(Level::INFO, || {
            let component = component();
            component.mark_up();
            component.mark_down("first");
            component.mark_down("second");
            assert_eq!(component.report().reason.as_deref(), Some("second"));
            component.mark_up();
        });
        assert_eq!(levels(&lines), ["INFO", "WARN", "INFO"], "{lines:?}");
        assert!(lines[1].contains("first") && lines[2].contains("checks.failed=2"), "{lines:?}");
    }

    #[test]
    fn component_that_fails_and_recovers_repeatedly_does_not_flood_the_log() {
        let lines = log_lines(Level::INFO, || {
            let component = component();
            for _ in 0..1_000 {
                component.mark_down("timeout");
                assert!(!component.is_up());
                component.mark_up();
                assert!(component.is_up());
            }
        });
        assert!(lines.len() <= 10, "{} lines", lines.len());
    }
}
