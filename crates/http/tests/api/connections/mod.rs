//! Connections: pipelined, invalid and late requests, slow clients, upgrades and the drain.

mod clients;
mod drain;
mod targets;
mod upgrades;
