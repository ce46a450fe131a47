//! End-to-end tests: the real binaries over a real Redis and a real Postgres.

mod access;
mod client;
mod durability;
mod http;
mod live;
mod messages;
mod operations;
mod overload;
mod page;
mod plays;
mod stats;
mod trends;
