//! The public port: routes, the files of the web page, server-sent events and WebSockets.

mod files;
mod query;
mod routes;
mod sse;
mod websocket;

pub(crate) use self::routes::{configure, upgrade};
