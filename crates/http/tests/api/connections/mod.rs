//! Connections: what clients send, and whether they read.

mod clients;
mod drain;
mod targets;
mod upgrades;
