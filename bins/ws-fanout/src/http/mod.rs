//! The public HTTP port: routes, the files of the web page, server-sent events and WebSockets.

mod client_frame;
mod files;
mod origins;
mod query;
mod routes;
mod sse;
mod websocket;

pub(crate) use self::{
    origins::OriginLog,
    routes::{configure, upgrade},
};
