//! Accepted writes survive kills, frozen processes, outages and shutdowns.

mod changes_by_hand;
#[cfg(target_os = "linux")]
mod clocks;
mod dead_letters;
mod drain;
mod frozen;
mod kills;
mod ledger;
mod outages;
mod rebuild;
