//! Parsing of batches.

use super::error::{FieldErrors, InputError};

/// Parses 1 to `items_max` items; each error carries the item's index. `rule` names the limits.
pub(crate) fn parse_items<'a, T>(
    items: impl Iterator<Item = &'a str>,
    items_max: usize,
    rule: &str,
    parse_item: impl Fn(&str) -> Result<T, InputError>,
) -> Result<Vec<T>, InputError> {
    let size_error = || InputError::InvalidFields(FieldErrors::new("", rule));
    let mut parsed = Vec::new();
    let (mut errors, mut has_syntax_error) = (FieldErrors::default(), false);
    for (index, item) in items.enumerate() {
        if index == items_max {
            return Err(size_error());
        }
        match parse_item(item) {
            Ok(item) => parsed.push(item),
            Err(InputError::InvalidJson(detail)) => {
                has_syntax_error = true;
                errors.push(format!("[{index}]"), format!("is not valid JSON: {detail}"));
            }
            Err(InputError::InvalidFields(item) | InputError::InvalidItems(item)) => {
                errors.append_item(index, item);
            }
        }
    }
    match (errors.is_empty(), has_syntax_error) {
        (true, _) if parsed.is_empty() => Err(size_error()),
        (true, _) => Ok(parsed),
        (false, true) => Err(InputError::InvalidItems(errors)),
        (false, false) => Err(InputError::InvalidFields(errors)),
    }
}
