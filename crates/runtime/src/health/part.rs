//! One part that a service stands on, such as Redis.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tracing::{info, warn};

use super::report::{PartReport, PartStatus};
use crate::redact;

/// What a service can do without a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// None of its work.
    Required,
    /// Some of its work.
    Useful,
}

/// One part of a process. Clones share one state.
#[derive(Clone, Debug)]
pub struct Part {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: &'static str,
    need: Need,
    /// Asked without a lock, for `up` is called after every success.
    up: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    NotChecked,
    Up,
    Down(String),
}

impl Part {
    pub(super) fn new(name: &'static str, need: Need) -> Self {
        let state = Mutex::new(State::NotChecked);
        Self { inner: Arc::new(Inner { name, need, up: AtomicBool::new(false), state }) }
    }

    /// Says that the part answers. Costs next to nothing if that is known.
    pub fn up(&self) {
        if self.is_up() {
            return;
        }
        let mut state = self.lock();
        if *state != State::Up {
            *state = State::Up;
            self.inner.up.store(true, Ordering::Release);
            info!(part = self.inner.name, "part is up");
        }
    }

    /// Says that the part does not answer, and why. Connection strings in the reason are cut out.
    pub fn down(&self, reason: impl Into<String>) {
        let reason = reason.into();
        let reason = redact(&reason).into_owned();
        let mut state = self.lock();
        if !matches!(*state, State::Down(_)) {
            warn!(part = self.inner.name, reason, "part is down");
        }
        *state = State::Down(reason);
        self.inner.up.store(false, Ordering::Release);
    }

    /// Whether the part answered last.
    pub fn is_up(&self) -> bool {
        self.inner.up.load(Ordering::Acquire)
    }

    pub(super) fn name(&self) -> &'static str {
        self.inner.name
    }

    pub(super) fn need(&self) -> Need {
        self.inner.need
    }

    pub(super) fn report(&self) -> PartReport {
        let reason = match &*self.lock() {
            State::Up => return PartReport { status: PartStatus::Up, reason: None },
            State::NotChecked => "not checked yet".to_owned(),
            State::Down(reason) => reason.clone(),
        };
        PartReport { status: PartStatus::Down, reason: Some(reason) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
