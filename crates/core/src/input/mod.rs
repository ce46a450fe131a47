//! Parses and validates request bodies, and reports errors by field.

mod error;
mod items;
mod json;
mod text;

pub use error::{FieldError, FieldErrors, InputError};
pub(crate) use items::ItemRules;
pub use items::Items;
pub(crate) use json::{RequestBody, optional, parse_as, required};
pub(crate) use text::{checked_text, has_chars};
