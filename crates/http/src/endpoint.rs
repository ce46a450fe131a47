//! One path and its handlers, with what every path has: `HEAD`, `OPTIONS`, 405, a deadline.

use actix_web::{
    FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder,
    dev::{AppService, HttpServiceFactory},
    guard,
    http::{Method, header::ALLOW},
    web,
};

use crate::{BodyLimit, Code, Problem, body, middleware::ResourceLayer, routes};

/// The methods of a path in the order in which `Allow` names them.
const METHODS: [Method; 4] = [Method::GET, Method::HEAD, Method::POST, Method::DELETE];

/// One path of a server. Made by [`resource`], given to `ServiceConfig::service`.
pub struct Endpoint {
    path: &'static str,
    resource: Resource,
    methods: Vec<Method>,
}

/// Begins a path such as `/v1/messages/{id}`.
pub fn resource(path: &'static str) -> Endpoint {
    Endpoint { path, resource: web::resource(path), methods: Vec::new() }
}

impl Endpoint {
    /// Answers `GET`, and `HEAD` with the same and no body.
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

    /// Answers `GET` and not `HEAD`, for a `GET` that writes.
    #[must_use]
    pub fn get_without_head<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.on(Method::GET, handler)
    }

    /// Answers `HEAD` in its own way, for a `GET` that takes.
    #[must_use]
    pub fn head<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.on(Method::HEAD, handler)
    }

    /// Answers `POST`.
    #[must_use]
    pub fn post<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.on(Method::POST, handler)
    }

    /// Answers `DELETE`.
    #[must_use]
    pub fn delete<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.on(Method::DELETE, handler)
    }

    /// Sets how large a body may be, in bytes; 64 KiB where nothing is set.
    #[must_use]
    pub fn body_limit(mut self, bytes_max: usize) -> Self {
        self.resource = body::limit_of(self.resource, BodyLimit(bytes_max));
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
    fn register(self, config: &mut AppService) {
        let methods = name_methods(&self.methods);
        let refused = methods.clone();
        let options = web::method(Method::OPTIONS).to(move |request: HttpRequest| {
            let methods = routes::find_methods(request.uri().path()).unwrap_or(&methods);
            let answer = answer_options(methods);
            async move { answer }
        });
        // What the other API knows of this path is named as well, unless it is the very method: that was sent here
        // and not there.
        let refuse = move |request: HttpRequest| {
            let all = routes::find_methods(request.uri().path());
            let all = all.filter(|all| !routes::has_method(all, request.method()));
            let problem = Problem::new(Code::MethodNotAllowed).allow(all.unwrap_or(&refused));
            async move { Err::<HttpResponse, _>(problem) }
        };
        self.resource
            .route(options)
            .default_service(web::to(refuse))
            .wrap(ResourceLayer { route: self.path })
            .register(config);
    }
}

/// Answers `OPTIONS` with the methods there are.
pub(crate) fn answer_options(methods: &str) -> HttpResponse {
    HttpResponse::NoContent().insert_header((ALLOW, methods)).finish()
}

fn name_methods(known: &[Method]) -> String {
    let mut names: Vec<_> =
        METHODS.iter().filter(|method| known.contains(method)).map(Method::as_str).collect();
    names.push("OPTIONS");
    names.join(", ")
}
