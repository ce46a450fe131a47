//! Until when a request has to be answered. Waiting for its body does not count: that has a timeout of its own.

use std::{cell::Cell, future::Future, pin::pin, rc::Rc, time::Duration};

use actix_web::dev::ServiceRequest;
use tokio::time::{Instant, timeout_at};

/// How long a request may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestTimeout(pub(crate) Duration);

impl Default for RequestTimeout {
    fn default() -> Self {
        Self(Duration::from_secs(10))
    }
}

/// A moment that moves while the body of the request is read.
pub(crate) struct Deadline {
    at: Cell<Instant>,
    timeout: Duration,
}

impl Deadline {
    /// Begins the deadline of a request.
    pub(super) fn of(request: &ServiceRequest) -> Rc<Self> {
        let RequestTimeout(timeout) = request.app_data().copied().unwrap_or_default();
        Rc::new(Self { at: Cell::new(Instant::now() + timeout), timeout })
    }

    /// Moves the moment behind a body that may take `body_timeout`.
    pub(crate) fn pause_for(&self, body_timeout: Duration) {
        self.at.set(Instant::now() + body_timeout + self.timeout);
    }

    /// Gives the request its whole time from now on.
    pub(crate) fn begin(&self) {
        self.at.set(Instant::now() + self.timeout);
    }

    /// Runs the work until it is done or the moment has come; none is too late.
    pub(super) async fn watch<F: Future>(&self, work: F) -> Option<F::Output> {
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
