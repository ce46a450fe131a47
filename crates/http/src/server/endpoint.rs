//! A path and its handlers. Every path supports `OPTIONS`, responds to unsupported methods with
//! 405, and has a deadline.

use actix_web::{
    FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder,
    dev::{AppService, HttpServiceFactory},
    guard,
    http::{Method, header::ALLOW},
    web,
};

use crate::{
    BodyLimit, Code, Problem,
    middleware::{ResourceAccess, ResourceLayer},
    request::set_body_limit,
    routes::{self, Route},
};

/// The methods in the order in which `Allow` lists them.
const METHODS: [Method; 4] = [Method::GET, Method::HEAD, Method::POST, Method::DELETE];

/// A path of a server, created by [`resource`] and registered with `ServiceConfig::service`.
pub struct Endpoint {
    route: Route,
    resource: Resource,
    methods: Vec<Method>,
    /// The methods that write, take or delete.
    unsafe_methods: Vec<Method>,
}

/// Creates an endpoint without handlers for a row of the [table of routes](routes), or for another
/// path that is public. Callers without the access that a method requires are rejected before the
/// body is read.
pub fn resource(route: &Route) -> Endpoint {
    let resource = web::resource(route.path);
    Endpoint { route: *route, resource, methods: Vec::new(), unsafe_methods: Vec::new() }
}

impl Endpoint {
    /// Handles `GET`, and handles `HEAD` with the same response without a body.
    #[must_use]
    pub fn get<F, Args>(mut self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let read = guard::Any(guard::Get()).or(guard::Head());
        self.methods.extend([Method::GET, Method::HEAD]);
        self.resource = self.resource.route(web::route().guard(read).to(handler));
        self
    }

    /// Handles `GET` but not `HEAD`, for a `GET` that writes or takes messages. Requests from an
    /// origin that is not allowed are rejected.
    #[must_use]
    pub fn get_without_head<F, Args>(mut self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.unsafe_methods.push(Method::GET);
        self.on(Method::GET, handler)
    }

    /// Handles `HEAD` separately, for a `GET` that takes messages.
    #[must_use]
    pub fn head<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.on(Method::HEAD, handler)
    }

    /// Handles `POST`. Requests from an origin that is not allowed are rejected.
    #[must_use]
    pub fn post<F, Args>(mut self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.unsafe_methods.push(Method::POST);
        self.on(Method::POST, handler)
    }

    /// Handles `DELETE`. Requests from an origin that is not allowed are rejected.
    #[must_use]
    pub fn delete<F, Args>(mut self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.unsafe_methods.push(Method::DELETE);
        self.on(Method::DELETE, handler)
    }

    /// Sets the body size limit in bytes; the default is 64 KiB.
    #[must_use]
    pub fn body_limit(mut self, bytes_max: usize) -> Self {
        self.resource = set_body_limit(self.resource, BodyLimit(bytes_max));
        self
    }

    fn on<F, Args>(mut self, method: Method, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.methods.push(method.clone());
        self.resource = self.resource.route(web::method(method).to(handler));
        self
    }
}

impl HttpServiceFactory for Endpoint {
    /// Registers the endpoint.
    ///
    /// # Panics
    /// Panics if the table of routes has no access for a method that has a handler.
    fn register(self, config: &mut AppService) {
        let methods = join_methods(&self.methods);
        let own_methods = methods.clone();
        let options = web::method(Method::OPTIONS).to(move |request: HttpRequest| {
            let methods = routes::find_methods(request.uri().path()).unwrap_or(&methods);
            let response = respond_options(methods);
            async move { response }
        });
        // `Allow` lists the methods of both APIs on this path, unless the other API supports the
        // requested method. In that case, the request was sent to the wrong API, and `Allow` lists
        // only the methods of this API.
        let reject = move |request: HttpRequest| {
            let all = routes::find_methods(request.uri().path());
            let all = all.filter(|all| !routes::has_method(all, request.method()));
            let problem = Problem::new(Code::MethodNotAllowed).allow(all.unwrap_or(&own_methods));
            async move { Err::<HttpResponse, _>(problem) }
        };
        let layer = ResourceLayer {
            route: self.route.path,
            unsafe_methods: self.unsafe_methods.into(),
            access: ResourceAccess::new(&self.route, &self.methods),
        };
        self.resource.route(options).default_service(web::to(reject)).wrap(layer).register(config);
    }
}

/// Responds to `OPTIONS` with the supported methods.
pub(super) fn respond_options(methods: &str) -> HttpResponse {
    HttpResponse::NoContent().insert_header((ALLOW, methods)).finish()
}

fn join_methods(supported: &[Method]) -> String {
    let mut names: Vec<_> =
        METHODS.iter().filter(|method| supported.contains(method)).map(Method::as_str).collect();
    names.push("OPTIONS");
    names.join(", ")
}
