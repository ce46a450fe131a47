//! The OpenAPI 3.1 document of both APIs, generated from code, and the page that displays it.
//!
//! Limits, problem codes and required rights come from the crates that enforce them.

mod document;
mod header;
mod operation;
mod page;
mod paths;
mod problem;
mod schema;
mod security;
#[cfg(test)]
mod tests;

pub use self::{document::build_document, page::build_docs};
