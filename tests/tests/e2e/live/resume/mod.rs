//! Resuming from a position.

mod replay;
mod window;
