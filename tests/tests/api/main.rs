//! Tests the servers over real sockets.

mod admin;
mod authentication;
mod bodies;
mod browsers;
mod connections;
mod files;
mod headers;
mod logs;
mod methods;
mod problems;
mod queries;
mod server;
