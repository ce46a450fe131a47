//! The measurements, one module each.

pub mod count_plays;
pub mod drain;
pub mod fan_out;
pub mod hot_read;
pub mod ingest;
