//! `mayfly simulate`.

mod messages;
mod plays;
mod server;
