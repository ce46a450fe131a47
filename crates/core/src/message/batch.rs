//! Batches: requests with several messages that are accepted or rejected together.

use super::NewMessage;
use crate::{
    input::{FieldErrors, InputError, ItemRules, Items},
    limits,
};

const RULES: ItemRules<NewMessage> = ItemRules {
    items_max: limits::BATCH_MESSAGES_MAX,
    rule: "must contain 1 to 1000 messages",
    parse_item,
};

/// Splits a batch sent as a JSON array.
pub fn split_array(json: &str) -> Result<Items<'_, NewMessage>, InputError> {
    Items::split_array(json, "must be an array", &RULES)
}

/// Splits a batch sent as NDJSON: one message per line. Blank lines are skipped.
pub fn split_lines(lines: &str) -> Result<Items<'_, NewMessage>, InputError> {
    Items::split_lines(lines, &RULES)
}

fn parse_item(item: &str) -> Result<NewMessage, InputError> {
    if item.len() > limits::MESSAGE_BYTES_MAX {
        let rule = "must be at most 65536 bytes";
        return Err(InputError::InvalidFields(FieldErrors::new("", rule)));
    }
    NewMessage::from_json(item)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_array(json: &str) -> Result<Vec<NewMessage>, InputError> {
        split_array(json)?.parse()
    }

    fn parse_lines(lines: &str) -> Result<Vec<NewMessage>, InputError> {
        split_lines(lines)?.parse()
    }

    #[test]
    fn error_names_the_index_of_the_item() {
        let error = parse_array(r#"[{"text":"x"},{"text":""},7]"#).expect_err("two are invalid");
        let fields: Vec<_> = error.into_fields().into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, ["[1].text", "[2]"]);
        let error = parse_lines("{\"text\":\"x\"}\n\n{\n").expect_err("one is not JSON");
        assert!(matches!(&error, InputError::InvalidItems(_)));
        assert_eq!(error.into_fields()[0].0, "[1]");
    }

    #[test]
    fn batch_contains_1_to_1000_messages() {
        let array = |count| format!("[{}]", vec![r#"{"text":"x"}"#; count].join(","));
        assert_eq!(parse_array(&array(1_000)).expect("it is full").len(), 1_000);
        assert!(parse_array(&array(1_001)).is_err());
        assert!(parse_array("[]").is_err());
        assert!(parse_lines("\n").is_err());
    }
}
