//! The HTTP layer of all services: extractors, problems, middleware and servers.

mod access;
mod connection;
pub mod metrics;
mod middleware;
mod request;
mod response;
pub mod routes;
mod server;

pub use self::{
    access::{CallerIdentity, CredentialsDigest, find_forbidden_origin},
    request::{
        Body, BodyFormat, BodyLimit, BodyMemory, Caller, ClientAddress, IdempotencyKey, Integer,
        NoQuery, PathParam, Query, RequestId, Traceparent, UnreadBody, parse_form,
    },
    response::{Code, Problem, RateLimit},
    server::{
        BoundListener, ConnectionHandle, Docs, Endpoint, StaticFile, UpgradeRequest,
        UpgradedSocket, content_security_policy, resource, serve, serve_admin, serve_with_upgrades,
        upgrade_required,
    },
};
