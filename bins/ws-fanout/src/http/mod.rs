//! The public HTTP port: routes, the files of the web page, server-sent events and WebSockets.

mod authentication;
mod client_frame;
mod files;
mod forbidden;
mod query;
mod routes;
mod sse;
mod websocket;

pub(crate) use self::{
    forbidden::ForbiddenLog,
    routes::{configure, upgrade},
};
