//! Accepted writes survive kills, frozen processes, outages and shutdowns.

mod dead_letters;
mod drain;
mod frozen;
mod kills;
mod ledger;
mod outages;
mod rebuild;
