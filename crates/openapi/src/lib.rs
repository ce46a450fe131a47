//! What both APIs answer, as one OpenAPI 3.1 document made from code, and the page that shows it.
//!
//! A file a noun says what its routes take and answer; limits and codes are those of the crates that enforce them.

mod chat;
mod document;
mod header;
mod hosts;
mod inbox;
mod increasing;
mod messages;
mod operation;
mod page;
mod plays;
mod problem;
mod pulse;
mod schema;
mod service;
mod stats;
#[cfg(test)]
mod tests;
mod visits;
mod write;

pub use self::{document::make_document, page::make_docs};
