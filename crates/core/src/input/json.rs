//! Parses JSON bodies. Errors name the invalid field.

use serde::{Deserialize, de::IgnoredAny};

use super::error::{FieldErrors, InputError};

const MISSING: &str = "must be present";

/// A type that a request body is parsed into.
pub(crate) trait RequestBody<'a>: Deserialize<'a> {
    /// Returns the rule for a field; `None` if there is none. Errors contain this rule instead of
    /// serde's description of a Rust type.
    fn find_rule(_field: &str) -> Option<&'static str> {
        None
    }
}

/// Parses the value of an optional field. Records an error if the value is invalid.
pub(crate) fn optional<I, T>(
    errors: &mut FieldErrors,
    field: &str,
    value: Option<I>,
    parse: impl FnOnce(I) -> Result<T, &'static str>,
) -> Option<T> {
    value.and_then(|value| errors.check(field, parse(value)))
}

/// Parses the value of a required field. Records an error if the value is missing or invalid.
pub(crate) fn required<I, T>(
    errors: &mut FieldErrors,
    field: &str,
    value: Option<I>,
    parse: impl FnOnce(I) -> Result<T, &'static str>,
) -> Option<T> {
    if value.is_none() {
        errors.push(field, MISSING);
    }
    optional(errors, field, value, parse)
}

/// Parses a JSON text that must start with `opening`, a brace or a bracket. `rule` is the error
/// message for any other JSON value. serde alone would accept an array in place of an object and
/// assign the items to the fields in order.
pub(crate) fn parse_as<'a, T: RequestBody<'a>>(
    json: &'a str,
    opening: char,
    rule: &str,
) -> Result<T, InputError> {
    if json.trim_ascii_start().starts_with(opening) {
        return parse_body(json);
    }
    match serde_json::from_str::<IgnoredAny>(json) {
        Ok(_) => Err(InputError::InvalidFields(FieldErrors::new("", rule))),
        Err(error) => Err(InputError::InvalidJson(error.to_string())),
    }
}

/// Parses JSON into `T`. If valid JSON does not match `T`, parses the text a second time to find
/// the name of the invalid field.
fn parse_body<'a, T: RequestBody<'a>>(json: &'a str) -> Result<T, InputError> {
    serde_json::from_str(json).map_err(|error| {
        if !error.is_data() {
            return InputError::InvalidJson(error.to_string());
        }
        let deserializer = &mut serde_json::Deserializer::from_str(json);
        let path = serde_path_to_error::deserialize::<_, T>(deserializer)
            .err()
            .map(|error| error.path().to_string())
            .unwrap_or_default();
        InputError::InvalidFields(to_field_errors(&path, &error.to_string(), T::find_rule))
    })
}

/// Converts a serde error into a field and a rule. The name of an unknown or duplicate
/// field is in serde's message, not in the path.
fn to_field_errors(
    path: &str,
    error: &str,
    find_rule: fn(&str) -> Option<&'static str>,
) -> FieldErrors {
    let message = error.split(" at line ").next().unwrap_or(error);
    let quoted = message.split('`').nth(1);
    let is_name_quoted =
        message.starts_with("unknown field") || message.starts_with("duplicate field");
    let field = match quoted {
        Some(name) if is_name_quoted => name,
        _ if path == "." || path == "?" => "",
        _ => path,
    };
    let rule = find_rule(field).filter(|_| message.starts_with("invalid "));
    FieldErrors::new(field, rule.unwrap_or(message))
}
