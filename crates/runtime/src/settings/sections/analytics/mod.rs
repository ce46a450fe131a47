//! Sections for play counts, presence, trends and the statistics snapshot.

mod plays;
mod rising;
mod stats;
mod visits;

pub use self::{
    plays::PlaysSettings,
    rising::{RisingSettings, RisingSource},
    stats::StatsSettings,
    visits::VisitsSettings,
};
