//! One process: how it is started, watched, started again and ended.

mod ending;
mod keeper;
mod launch;
mod leash;
mod leftovers;
mod log_file;
mod restarts;

pub(crate) use ending::Ending;
pub(crate) use keeper::{Keeper, State};
pub(crate) use launch::{Account, Build, Launch, kept_environment};
pub(crate) use leash::leash;
pub(crate) use leftovers::{end_holder, end_leftovers, wait_until_left, write_pid};
pub(crate) use log_file::LogMark;
pub use log_file::open_log;
