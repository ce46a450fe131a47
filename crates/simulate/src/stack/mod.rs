//! The local stack during a simulation.

pub(crate) mod local_stack;
pub(crate) mod saved_stack;
