//! Parses batches. A body is first split into items, so that a request with too many items is
//! rejected before any item is parsed.

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    error::{FieldErrors, InputError},
    json::{RequestBody, parse_as},
};

/// The rules for the items in a batch.
#[derive(Debug)]
pub(crate) struct ItemRules<T> {
    pub(crate) items_max: usize,
    /// The error message for a wrong number of items.
    pub(crate) rule: &'static str,
    pub(crate) parse_item: fn(&str) -> Result<T, InputError>,
}

/// The unparsed items in a request body. There is at least one item.
#[derive(Debug)]
pub struct Items<'a, T> {
    texts: Vec<&'a str>,
    /// Whether the field names in errors are prefixed with the item's index.
    is_batch: bool,
    parse_item: fn(&str) -> Result<T, InputError>,
}

impl<'a, T> Items<'a, T> {
    /// Splits an array. `type_rule` is the error message for any other JSON value.
    pub(crate) fn split_array(
        json: &'a str,
        type_rule: &str,
        rules: &ItemRules<T>,
    ) -> Result<Self, InputError> {
        let RawItems(items) = parse_as(json, '[', type_rule)?;
        Self::new(items.into_iter().map(RawValue::get).collect(), rules)
    }

    /// Splits an array, or uses an object as the only item.
    pub(crate) fn split_object_or_array(
        json: &'a str,
        rules: &ItemRules<T>,
    ) -> Result<Self, InputError> {
        if json.trim_ascii_start().starts_with('{') {
            let parse_item = rules.parse_item;
            return Ok(Self { texts: vec![json], is_batch: false, parse_item });
        }
        Self::split_array(json, "must be an object or an array", rules)
    }

    /// Splits lines. Blank lines are skipped.
    pub(crate) fn split_lines(lines: &'a str, rules: &ItemRules<T>) -> Result<Self, InputError> {
        let items = lines.lines().map(str::trim).filter(|line| !line.is_empty());
        Self::new(items.take(rules.items_max + 1).collect(), rules)
    }

    fn new(texts: Vec<&'a str>, rules: &ItemRules<T>) -> Result<Self, InputError> {
        if texts.is_empty() || texts.len() > rules.items_max {
            return Err(InputError::InvalidFields(FieldErrors::new("", rules.rule)));
        }
        Ok(Self { texts, is_batch: true, parse_item: rules.parse_item })
    }

    /// Returns the number of items.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is at least one item")]
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Returns whether the body is a batch, and not a single item.
    #[must_use]
    pub fn is_batch(&self) -> bool {
        self.is_batch
    }

    /// Parses the items. In a batch, the field names in errors are prefixed with the item's index.
    pub fn parse(self) -> Result<Vec<T>, InputError> {
        if !self.is_batch {
            return self.texts.into_iter().map(self.parse_item).collect();
        }
        let mut parsed = Vec::with_capacity(self.texts.len());
        let (mut errors, mut has_syntax_error) = (FieldErrors::default(), false);
        for (index, item) in self.texts.into_iter().enumerate() {
            match (self.parse_item)(item) {
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
            (true, _) => Ok(parsed),
            (false, true) => Err(InputError::InvalidItems(errors)),
            (false, false) => Err(InputError::InvalidFields(errors)),
        }
    }
}

/// The maximum number of items that are collected, which is more than any batch may contain.
/// Without this limit, an array of millions of small items would need many times as much memory as
/// the body itself.
const COLLECTED_ITEMS_MAX: usize = 10_000;

/// The first [`COLLECTED_ITEMS_MAX`] items in an array.
struct RawItems<'a>(Vec<&'a RawValue>);

impl<'a> RequestBody<'a> for RawItems<'a> {}

impl<'de> Deserialize<'de> for RawItems<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(RawItemsVisitor)
    }
}

struct RawItemsVisitor;

impl<'de> Visitor<'de> for RawItemsVisitor {
    type Value = RawItems<'de>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RawItems<'de>, A::Error> {
        let mut items = Vec::new();
        while items.len() < COLLECTED_ITEMS_MAX
            && let Some(item) = seq.next_element()?
        {
            items.push(item);
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(RawItems(items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: ItemRules<usize> = ItemRules {
        items_max: 3,
        rule: "must contain 1 to 3 numbers",
        parse_item: |item| {
            item.parse().map_err(|_| InputError::InvalidFields(FieldErrors::new("", "must be")))
        },
    };

    fn split(json: &str) -> Result<Items<'_, usize>, InputError> {
        Items::split_array(json, "must be an array", &RULES)
    }

    #[test]
    fn items_are_counted_before_they_are_parsed() {
        let items = split("[1, {\"x\":[]}, 3]").expect("three items");
        assert_eq!(items.len(), 3);
        assert_eq!(items.parse().expect_err("one is invalid").into_fields()[0].0, "[1]");
        assert_eq!(split("[7]").expect("an item").parse().expect("a number"), [7]);
        let lines = Items::split_lines("1\n\n x \n", &RULES).expect("two lines");
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn item_limit_is_checked_before_any_item_is_parsed() {
        for sent in ["[]", "[1,2,3,x]", "[1,2,3,{}]"] {
            assert!(split(sent).is_err(), "{sent}");
        }
        let error = split("[{},{},{},{}]").expect_err("there are four");
        assert_eq!(error.into_fields(), [(String::new(), RULES.rule.to_owned())]);
        assert!(Items::split_lines("x\nx\nx\nx", &RULES).is_err());
        assert!(Items::split_lines(" \n\n", &RULES).is_err());
    }

    #[test]
    fn items_beyond_the_limit_are_checked_but_not_collected() {
        let many = vec!["1"; 3 * COLLECTED_ITEMS_MAX].join(",");
        let array = format!("[{many}]");
        let RawItems(collected) = parse_as(&array, '[', "").expect("an array");
        assert_eq!(collected.len(), COLLECTED_ITEMS_MAX);
        let malformed = split(&format!("[{many},")).map(|items| items.len());
        assert!(matches!(malformed, Err(InputError::InvalidJson(_))), "{malformed:?}");
    }
}
