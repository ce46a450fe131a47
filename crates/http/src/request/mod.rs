//! Requests: extractors for headers, parameters and bodies.

mod body;
mod caller;
mod client_address;
mod context;
mod deadline;
mod form;
mod idempotency_key;
mod path_param;
mod query;
mod request_id;
mod traceparent;

pub use self::{
    body::{Body, BodyFormat, BodyLimit, BodyMemory, UnreadBody},
    caller::Caller,
    client_address::ClientAddress,
    form::Integer,
    idempotency_key::IdempotencyKey,
    path_param::PathParam,
    query::{NoQuery, Query, parse_form},
    request_id::RequestId,
    traceparent::Traceparent,
};
pub(crate) use self::{
    body::{BodyBudget, BodyTimeout, set_body_limit},
    context::Context,
    deadline::{Deadline, RequestTimeout},
    request_id::X_REQUEST_ID,
    traceparent::TRACEPARENT,
};
