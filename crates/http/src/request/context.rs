//! Per-request state that the middleware shares with extractors.

use std::{
    cell::{Cell, OnceCell},
    future::{Ready, ready},
    rc::Rc,
};

use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload, http::header::HeaderMap};
use futures_util::future::LocalBoxFuture;
use mayfly_auth::Identity;

use super::{Deadline, RequestId, Traceparent};
use crate::{Code, Problem};

/// Authenticates the caller of a request again.
///
/// # Errors
/// Returns the problem to reject the request with.
pub(crate) type Recheck = for<'a> fn(&'a HttpRequest) -> LocalBoxFuture<'a, Result<(), Problem>>;

/// State of a request, stored in its extensions.
pub(crate) struct Context {
    pub(crate) request_id: RequestId,
    pub(crate) traceparent: Traceparent,
    /// The problem to reject the request with; `None` if the request is not rejected.
    pub(crate) rejection: Cell<Option<Problem>>,
    /// The path pattern, set if a resource matches.
    route: OnceCell<&'static str>,
    /// The deadline, set if a resource matches.
    deadline: OnceCell<Rc<Deadline>>,
    /// The identity of the caller and how to check it again, set if the method requires an access
    /// that the caller has.
    identity: OnceCell<(Identity, Recheck)>,
}

impl Context {
    /// Creates the context from the headers of a request.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        Self {
            request_id: RequestId::from_headers(headers),
            traceparent: Traceparent::from_headers(headers),
            rejection: Cell::new(None),
            route: OnceCell::new(),
            deadline: OnceCell::new(),
            identity: OnceCell::new(),
        }
    }

    /// Returns the path pattern if a resource matched.
    pub(crate) fn route(&self) -> Option<&'static str> {
        self.route.get().copied()
    }

    pub(crate) fn set_route(&self, route: &'static str) {
        // The outermost resource determines the route.
        let _ = self.route.set(route);
    }

    /// Checks whether the request must be rejected.
    ///
    /// # Errors
    /// Returns the problem that the outermost middleware set, and removes the problem from the
    /// context.
    pub(crate) fn check_rejection(request: &impl HttpMessage) -> Result<(), Problem> {
        let extensions = request.extensions();
        match extensions.get::<Self>().and_then(|context| context.rejection.take()) {
            Some(problem) => Err(problem),
            None => Ok(()),
        }
    }

    /// Returns the deadline if a resource matched.
    pub(crate) fn deadline(&self) -> Option<Rc<Deadline>> {
        self.deadline.get().cloned()
    }

    pub(crate) fn set_deadline(&self, deadline: &Rc<Deadline>) {
        // The outermost resource determines the deadline.
        let _ = self.deadline.set(Rc::clone(deadline));
    }

    /// Returns the identity of the caller if the method requires an access.
    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.identity.get().map(|(identity, _)| identity)
    }

    /// Returns how to check the identity again if the method requires an access.
    pub(crate) fn recheck(&self) -> Option<Recheck> {
        self.identity.get().map(|(_, recheck)| *recheck)
    }

    pub(crate) fn set_identity(&self, identity: Identity, recheck: Recheck) {
        // The outermost resource determines the identity.
        let _ = self.identity.set((identity, recheck));
    }
}

impl FromRequest for RequestId {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(extract(request, |context| context.request_id.clone()))
    }
}

impl FromRequest for Traceparent {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(extract(request, |context| context.traceparent.clone()))
    }
}

fn extract<T>(request: &HttpRequest, get: impl FnOnce(&Context) -> T) -> Result<T, Problem> {
    let value = request.extensions().get::<Context>().map(get);
    value.ok_or_else(|| {
        Problem::new(Code::Internal).caused_by("the request did not pass through the middleware")
    })
}
