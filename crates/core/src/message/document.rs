//! The field `data`: any JSON document, stored as sent except for whitespace between tokens.

use std::fmt;

use serde::{
    Serialize, Serializer,
    de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::limits::DOCUMENT_LEVELS_MAX;

/// A JSON document with the digits, escapes and key order of the request. Whitespace between
/// tokens is removed, so the document is always one line.
#[derive(Debug, Clone)]
pub struct Document(Box<RawValue>);

/// The error for a text that is not a valid [`Document`].
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Valid JSON that violates a rule.
    #[error("{0}")]
    Rule(String),
    /// Invalid JSON.
    #[error("is not valid JSON: {0}")]
    Syntax(serde_json::Error),
}

impl Document {
    /// Validates a JSON text (at most 64 levels, no `\u0000`, no lone surrogates, no numbers
    /// outside the range of a double) and removes whitespace between tokens.
    pub fn parse(json: &str) -> Result<Self, DocumentError> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        Validator(DOCUMENT_LEVELS_MAX)
            .deserialize(&mut deserializer)
            .and_then(|()| deserializer.end())
            .map_err(classify)?;
        RawValue::from_string(strip_whitespace(json)).map(Self).map_err(DocumentError::Syntax)
    }

    /// Returns the document as one line of JSON.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

fn classify(error: serde_json::Error) -> DocumentError {
    let text = error.to_string();
    if error.is_data() {
        // serde_json appends the location; callers need only the rule.
        let rule = text.split(" at line ").next().unwrap_or(&text);
        DocumentError::Rule(rule.to_owned())
    } else if text.starts_with("number out of range") {
        DocumentError::Rule("contains a number outside the range of a double".into())
    } else if text.starts_with("recursion limit") {
        DocumentError::Rule(LEVELS_RULE.into())
    } else {
        DocumentError::Syntax(error)
    }
}

const LEVELS_RULE: &str = "is nested deeper than 64 levels";
const NUL_RULE: &str = "contains the character U+0000";

/// A visitor that validates a document without building a value. The field is the remaining nesting
/// depth.
#[derive(Clone, Copy)]
struct Validator(usize);

impl Validator {
    fn descend<E: de::Error>(self) -> Result<Self, E> {
        self.0.checked_sub(1).map(Self).ok_or_else(|| E::custom(LEVELS_RULE))
    }
}

impl<'de> DeserializeSeed<'de> for Validator {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Validator {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        if text.contains('\0') { Err(E::custom(NUL_RULE)) } else { Ok(()) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.descend()?;
        while items.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let inner = self.descend()?;
        // The same visitor checks the keys, which are strings.
        while members.next_key_seed(inner)?.is_some() {
            members.next_value_seed(inner)?;
        }
        Ok(())
    }
}

/// Removes the whitespace between the tokens of a valid JSON text.
fn strip_whitespace(json: &str) -> String {
    let mut stripped = String::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for character in json.chars() {
        if !in_string && matches!(character, ' ' | '\t' | '\n' | '\r') {
            continue;
        }
        stripped.push(character);
        if escaped {
            escaped = false;
        } else if in_string && character == '\\' {
            escaped = true;
        } else if character == '"' {
            in_string = !in_string;
        }
    }
    stripped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nested(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn digits_escapes_and_key_order_are_preserved() {
        let sent =
            r#"{ "z" : 1.10e+2, "a": [12345678901234567890123, -0.0], "a" : "\u00e9\n \" x" }"#;
        let stored = r#"{"z":1.10e+2,"a":[12345678901234567890123,-0.0],"a":"\u00e9\n \" x"}"#;
        assert_eq!(Document::parse(sent).expect("it is valid").as_str(), stored);
    }

    #[test]
    fn more_than_64_levels_are_rejected() {
        assert!(Document::parse(&nested(64)).is_ok());
        for levels in [65, 127, 128, 129, 10_000] {
            let error = Document::parse(&nested(levels)).expect_err("it is too deep");
            assert!(matches!(error, DocumentError::Rule(_)), "{levels}: {error}");
        }
    }

    #[test]
    fn nul_lone_surrogates_and_numbers_out_of_range_are_rejected() {
        for wrong in [
            r#""\u0000""#,
            r#"{"\u0000":1}"#,
            r#""\ud800""#,
            r#"["\udc00x"]"#,
            "1e400",
            "[-1e999]",
            "\u{feff}1",
            "1 2",
            "",
            "{",
            "01",
            "NaN",
        ] {
            assert!(Document::parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(Document::parse(&format!("1{}", "0".repeat(400))).is_err());
    }

    proptest! {
        #[test]
        fn document_is_equivalent_to_the_text_sent(text in "[ -~éß\n\t\"\\\\]{0,40}", number in any::<i64>()) {
            let value = serde_json::json!({ "text": text, "list": [number, null, true] });
            let pretty = serde_json::to_string_pretty(&value).expect("it serializes");
            let document = Document::parse(&pretty).expect("it is valid");
            prop_assert!(!document.as_str().contains('\n'));
            let read: serde_json::Value = serde_json::from_str(document.as_str()).expect("it parses");
            prop_assert_eq!(read, value);
        }
    }
}
