//! Messages are delivered once and in order, also during failures.

mod drain;
mod kills;
mod latency;
mod lost_publications;
mod outages;
mod subscribe_races;
