//! HTTP as all of Mayfly speaks it: problems, extractors, the middleware around every request, and the servers.

mod admin;
mod body;
mod caller;
mod client_address;
mod closing;
mod cors;
mod docs;
mod encoding;
mod endpoint;
mod file;
mod forms;
mod hangup;
mod idempotency_key;
mod middleware;
mod path_name;
mod problem;
mod query;
mod rate_limit;
mod request_id;
pub mod routes;
mod server;
mod trace_parent;
mod upgrade;

pub use self::{
    admin::serve_admin,
    body::{BodyLimit, FormBody, Format, JsonBody, NdjsonOrJsonBody, read_body},
    caller::Caller,
    client_address::ClientAddress,
    docs::Docs,
    endpoint::{Endpoint, resource},
    file::{File, content_security_policy},
    hangup::Hangup,
    idempotency_key::IdempotencyKey,
    path_name::PathName,
    problem::{Code, Problem},
    query::{NoQuery, Query, parse_form},
    rate_limit::RateLimit,
    request_id::RequestId,
    server::{Server, serve, serve_upgrades},
    trace_parent::Traceparent,
    upgrade::{Switched, UpgradeRequest, upgrade_required},
};
