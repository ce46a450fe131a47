//! The feeds `rising` and `stats`, and `expired` frames.

mod expired;
mod rising;
mod stats;
