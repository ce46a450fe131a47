//! A batch: many messages of one request, all accepted or none.

use serde_json::value::RawValue;

use crate::{
    field::FieldErrors,
    limits,
    new_message::{NewMessage, Refusal, parse_as},
};

/// Reads a batch sent as a JSON array.
pub fn parse_array(json: &str) -> Result<Vec<NewMessage>, Refusal> {
    let items: Vec<&RawValue> = parse_as(json, '[', "must be an array")?;
    parse_messages(items.into_iter().map(RawValue::get))
}

/// Reads a batch sent as NDJSON: one message a line, blank lines left out.
pub fn parse_lines(lines: &str) -> Result<Vec<NewMessage>, Refusal> {
    parse_messages(lines.lines().map(str::trim).filter(|line| !line.is_empty()))
}

fn parse_messages<'a>(items: impl Iterator<Item = &'a str>) -> Result<Vec<NewMessage>, Refusal> {
    let rule = "a batch must hold 1 to 1000 messages";
    parse_items(items, limits::BATCH_MESSAGES_MAX, rule, parse_item)
}

/// Reads 1 to `most` items; the index of each that is wrong is named. `rule` says how many there may
/// be.
pub(crate) fn parse_items<'a, T>(
    items: impl Iterator<Item = &'a str>,
    most: usize,
    rule: &str,
    parse_item: impl Fn(&str) -> Result<T, Refusal>,
) -> Result<Vec<T>, Refusal> {
    let mut parsed = Vec::new();
    let (mut errors, mut any_syntax) = (FieldErrors::default(), false);
    for (index, item) in items.enumerate() {
        if index == most {
            return Err(size_refused(rule));
        }
        match parse_item(item) {
            Ok(item) => parsed.push(item),
            Err(Refusal::InvalidJson(detail)) => {
                any_syntax = true;
                errors.push(format!("[{index}]"), format!("is not valid JSON: {detail}"));
            }
            Err(Refusal::InvalidFields(item) | Refusal::InvalidItems(item)) => {
                errors.append_item(index, item);
            }
        }
    }
    match (errors.is_empty(), any_syntax) {
        (true, _) if parsed.is_empty() => Err(size_refused(rule)),
        (true, _) => Ok(parsed),
        (false, true) => Err(Refusal::InvalidItems(errors)),
        (false, false) => Err(Refusal::InvalidFields(errors)),
    }
}

fn parse_item(item: &str) -> Result<NewMessage, Refusal> {
    if item.len() > limits::MESSAGE_BYTES_MAX {
        return Err(Refusal::InvalidFields(FieldErrors::of("", "must be at most 65536 bytes")));
    }
    NewMessage::from_json(item)
}

fn size_refused(rule: &str) -> Refusal {
    Refusal::InvalidFields(FieldErrors::of("", rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_names_the_index_of_what_is_wrong() {
        let refusal = parse_array(r#"[{"text":"x"},{"text":""},7]"#).expect_err("it is wrong");
        let fields: Vec<_> = refusal.into_fields().into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, ["[1].text", "[2]"]);
        let refusal = parse_lines("{\"text\":\"x\"}\n\n{\n").expect_err("it is wrong");
        assert!(matches!(&refusal, Refusal::InvalidItems(_)));
        assert_eq!(refusal.into_fields()[0].0, "[1]");
    }

    #[test]
    fn a_batch_holds_1_to_1000_messages() {
        let array = |count| format!("[{}]", vec![r#"{"text":"x"}"#; count].join(","));
        assert_eq!(parse_array(&array(1_000)).expect("it is full").len(), 1_000);
        assert!(parse_array(&array(1_001)).is_err());
        assert!(parse_array("[]").is_err());
        assert!(parse_lines("\n").is_err());
    }
}
