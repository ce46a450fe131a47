//! The HTTP layer: headers, limits, malformed requests, the OpenAPI documents and the reverse
//! proxy.

mod docs_page;
mod headers;
mod limits;
mod malformed;
mod openapi;
mod reverse_proxy;
mod slow_requests;
mod unread_responses;
