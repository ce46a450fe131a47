//! The deadline of a request. The time for receiving the body does not count toward the deadline,
//! because the body has its own timeout.

use std::{cell::Cell, future::Future, pin::pin, rc::Rc, time::Duration};

use actix_web::dev::ServiceRequest;
use tokio::time::{Instant, timeout_at};

/// The time limit for a request, excluding the time for receiving the body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestTimeout(pub(crate) Duration);

impl Default for RequestTimeout {
    fn default() -> Self {
        Self(Duration::from_secs(10))
    }
}

/// The deadline of a request.
pub(crate) struct Deadline {
    at: Cell<Instant>,
    timeout: Duration,
}

impl Deadline {
    /// Starts the time limit of a request.
    pub(crate) fn start(request: &ServiceRequest) -> Rc<Self> {
        let RequestTimeout(timeout) = request.app_data().copied().unwrap_or_default();
        Rc::new(Self { at: Cell::new(Instant::now() + timeout), timeout })
    }

    /// Restarts the deadline and extends it by `body_timeout`, the time limit for receiving the
    /// body.
    pub(crate) fn pause_for(&self, body_timeout: Duration) {
        self.at.set(Instant::now() + body_timeout + self.timeout);
    }

    /// Restarts the deadline with the full time limit.
    pub(crate) fn restart(&self) {
        self.at.set(Instant::now() + self.timeout);
    }

    /// Runs `work` until it completes or the deadline passes. Returns `None` if the deadline
    /// passed.
    pub(crate) async fn enforce<F: Future>(&self, work: F) -> Option<F::Output> {
        let mut work = pin!(work);
        loop {
            let at = self.at.get();
            match timeout_at(at, work.as_mut()).await {
                Ok(output) => return Some(output),
                Err(_) if self.at.get() > at => {}
                Err(_) => return None,
            }
        }
    }
}
