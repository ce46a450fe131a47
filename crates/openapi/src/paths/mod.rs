//! The operations of both APIs, grouped by resource.

pub(crate) mod chat;
pub(crate) mod hosts;
pub(crate) mod inbox;
pub(crate) mod increasing;
pub(crate) mod messages;
pub(crate) mod plays;
pub(crate) mod pulse;
pub(crate) mod service;
pub(crate) mod stats;
pub(crate) mod visits;
pub(crate) mod write;
