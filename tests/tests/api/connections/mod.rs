//! Connections: pipelined, invalid and late requests, slow clients, upgrades, metrics, the drain.

mod clients;
mod drain;
mod metrics;
mod targets;
mod upgrades;
