//! The processes of a stack, their ports and their addresses.

pub(crate) mod addresses;
pub(crate) mod instance;
pub(crate) mod ports;
pub(crate) mod service;
