//! HTTP as all of Mayfly speaks it: problems, extractors, the middleware around every request, and the servers.

mod admin;
mod body;
mod cors;
mod encoding;
mod endpoint;
mod forms;
mod hangup;
mod middleware;
mod path_name;
mod problem;
mod query;
mod request_id;
pub mod routes;
mod server;
mod trace_parent;
mod upgrade;

pub use self::{
    admin::serve_admin,
    body::{BodyLimit, FormBody, Format, JsonBody, NdjsonOrJsonBody, read_body},
    endpoint::{Endpoint, resource},
    hangup::Hangup,
    path_name::PathName,
    problem::{Code, Problem},
    query::{NoQuery, Query, parse_form},
    request_id::RequestId,
    server::{Server, serve, serve_upgrades},
    trace_parent::Traceparent,
    upgrade::{Switched, UpgradeRequest, upgrade_required},
};
