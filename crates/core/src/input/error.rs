//! The errors found in a request body.

use serde::Serialize;

use crate::limits;

/// The error for a rejected request body.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The body is not valid JSON. The text describes the syntax error and its location.
    #[error("{0}")]
    InvalidJson(String),
    /// At least one item of a batch is not valid JSON. Other items may have invalid fields.
    #[error("an item is not valid JSON")]
    InvalidItems(FieldErrors),
    /// Fields violate their rules.
    #[error("a field is invalid")]
    InvalidFields(FieldErrors),
}

/// An invalid field and the rule that it violates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field's name; empty if the whole body is invalid. In a batch, the name is prefixed with
    /// the item's index, as in `[3].text`.
    pub field: String,
    /// The rule, worded to follow the field's name.
    pub message: String,
}

/// The invalid fields of one request, at most [`limits::FIELD_ERRORS_MAX`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldErrors(Vec<FieldError>);

impl FieldErrors {
    /// Creates a list with one invalid field.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        let mut errors = Self::default();
        errors.push(field, message);
        errors
    }

    /// Adds an invalid field, unless the limit has been reached.
    pub fn push(&mut self, field: impl Into<String>, message: impl Into<String>) {
        if self.0.len() < limits::FIELD_ERRORS_MAX {
            self.0.push(FieldError { field: field.into(), message: message.into() });
        }
    }

    /// Adds the errors of one item of a batch. Prefixes their field names with the item's index.
    pub fn append_item(&mut self, index: usize, item: Self) {
        for error in item.0 {
            let field = if error.field.is_empty() {
                format!("[{index}]")
            } else {
                format!("[{index}].{}", error.field)
            };
            self.push(field, error.message);
        }
    }

    /// Returns whether no field is invalid.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Iterates over the invalid fields in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &FieldError> {
        self.0.iter()
    }

    /// Returns the value if it is valid. Otherwise, records the violated rule and returns `None`.
    pub fn check<T>(&mut self, field: &str, checked: Result<T, &'static str>) -> Option<T> {
        checked.map_err(|rule| self.push(field, rule)).ok()
    }
}

impl IntoIterator for FieldErrors {
    type Item = FieldError;
    type IntoIter = std::vec::IntoIter<FieldError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
impl InputError {
    /// Returns the invalid fields with their rules, in the order in which they were found.
    pub(crate) fn into_fields(self) -> Vec<(String, String)> {
        match self {
            Self::InvalidFields(errors) | Self::InvalidItems(errors) => {
                errors.into_iter().map(|error| (error.field, error.message)).collect()
            }
            Self::InvalidJson(detail) => panic!("no field is named, but: {detail}"),
        }
    }
}
