//! What is known of a request beside the request.

use std::{cell::OnceCell, rc::Rc};

use actix_web::http::header::HeaderMap;

use super::Deadline;
use crate::{RequestId, Traceparent};

/// Stands in the extensions of every request.
pub(crate) struct Context {
    pub(crate) request_id: RequestId,
    pub(crate) traceparent: Traceparent,
    /// The pattern of the path; set where a resource has it.
    route: OnceCell<&'static str>,
    /// Set where the resource has one.
    deadline: OnceCell<Rc<Deadline>>,
}

impl Context {
    /// Takes or makes what the headers say.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self {
            request_id: RequestId::take_or_make(headers),
            traceparent: Traceparent::take_or_make(headers),
            route: OnceCell::new(),
            deadline: OnceCell::new(),
        }
    }

    /// The pattern of the path, if a resource has it.
    pub(super) fn route(&self) -> Option<&'static str> {
        self.route.get().copied()
    }

    pub(super) fn set_route(&self, route: &'static str) {
        // A resource within a resource keeps the name of the outer one.
        let _ = self.route.set(route);
    }

    /// Until when the request has to be answered.
    pub(crate) fn deadline(&self) -> Option<Rc<Deadline>> {
        self.deadline.get().cloned()
    }

    pub(super) fn set_deadline(&self, deadline: &Rc<Deadline>) {
        // A resource within a resource keeps the deadline of the outer one.
        let _ = self.deadline.set(Rc::clone(deadline));
    }
}
