//! The HTTP layer of all services: extractors, problems, middleware and servers.

pub mod metrics;
mod middleware;
mod request;
mod response;
mod server;

pub use self::{
    request::{
        BodyFormat, BodyLimit, Caller, ClientAddress, FormBody, IdempotencyKey, JsonBody,
        NdjsonOrJsonBody, NoQuery, PathParam, Query, RequestId, Traceparent, parse_form, read_body,
    },
    response::{Code, Problem, RateLimit},
    server::{
        BoundListener, ConnectionHandle, Docs, Endpoint, StaticFile, UpgradeRequest,
        UpgradedSocket, content_security_policy, resource, routes, serve, serve_admin,
        serve_with_upgrades, upgrade_required,
    },
};
