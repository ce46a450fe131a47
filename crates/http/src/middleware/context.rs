//! What is known of a request beside the request.

use std::{cell::OnceCell, rc::Rc};

use actix_web::http::header::HeaderMap;

use super::Deadline;
use crate::{RequestId, Traceparent};

/// Stands in the extensions of every request.
pub(crate) struct Context {
    pub(crate) request_id: RequestId,
    pub(crate) traceparent: Traceparent,
    /// Set where the resource has one.
    deadline: OnceCell<Rc<Deadline>>,
}

impl Context {
    /// Takes or makes what the headers say.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self {
            request_id: RequestId::take_or_make(headers),
            traceparent: Traceparent::take_or_make(headers),
            deadline: OnceCell::new(),
        }
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
