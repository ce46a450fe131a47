//! Deserializes queries and forms: name-value pairs separated by `&`.

mod error;
mod integer;
mod value;

use std::{borrow::Cow, collections::HashMap};

use percent_encoding::percent_decode;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess,
    Visitor, value::StrDeserializer,
};

pub use self::integer::Integer;
use self::{error::FieldError, value::Values};
use crate::{Code, Problem};

/// Maximum number of distinct names for which comparing names is faster than a hash table.
const COMPARED_NAMES_MAX: usize = 8;

/// Deserializes pairs into a struct. Unknown, repeated and invalid fields are rejected with a
/// problem that names the field.
///
/// A field of type `Vec` collects the values of a repeated name. The struct does not need
/// `deny_unknown_fields`; `flatten` is not supported.
pub(super) fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    let pairs = split_pairs(text)?;
    T::deserialize(Pairs(pairs)).map_err(|error| {
        Problem::new(Code::InvalidField).field(error.field.unwrap_or_default(), error.message)
    })
}

/// Returns the name of the first pair, or `None` if there are no pairs.
pub(super) fn first_name(text: &[u8]) -> Result<Option<String>, Problem> {
    let first = split_parts(text).next().map(|(name, _)| decode_name(name)).transpose()?;
    Ok(first.map(Cow::into_owned))
}

/// A name and all of its values.
struct Pair<'a> {
    name: Cow<'a, str>,
    values: Vec<Cow<'a, str>>,
}

/// Splits a text into pairs, one for each distinct name with all of its values. Takes linear time,
/// regardless of the number of distinct names.
fn split_pairs(text: &[u8]) -> Result<Vec<Pair<'_>>, Problem> {
    let mut pairs: Vec<Pair<'_>> = Vec::new();
    let mut indexes: HashMap<Cow<'_, str>, usize> = HashMap::new();
    for (name, value) in split_parts(text) {
        let name = decode_name(name)?;
        let value = decode(value).ok_or_else(|| not_utf8(name.clone().into_owned()))?;
        let known = if indexes.is_empty() {
            pairs.iter().position(|pair| pair.name == name)
        } else {
            indexes.get(&name).copied()
        };
        if let Some(index) = known {
            pairs[index].values.push(value);
            continue;
        }
        if !indexes.is_empty() {
            indexes.insert(name.clone(), pairs.len());
        } else if pairs.len() == COMPARED_NAMES_MAX {
            indexes = pairs.iter().map(|pair| pair.name.clone()).zip(0..).collect();
            indexes.insert(name.clone(), pairs.len());
        }
        pairs.push(Pair { name, values: vec![value] });
    }
    Ok(pairs)
}

/// Iterates over the undecoded names and values.
fn split_parts(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    text.split(|byte| *byte == b'&').filter(|part| !part.is_empty()).map(|part| {
        let separator = part.iter().position(|byte| *byte == b'=');
        separator.map_or((part, &part[part.len()..]), |at| (&part[..at], &part[at + 1..]))
    })
}

fn decode_name(name: &[u8]) -> Result<Cow<'_, str>, Problem> {
    decode(name).ok_or_else(|| not_utf8(String::from_utf8_lossy(name).into_owned()))
}

fn not_utf8(field: String) -> Problem {
    Problem::new(Code::InvalidField).field(field, "must be percent-encoded UTF-8")
}

/// Decodes `+` as a space, and decodes percent-encoded bytes. Keeps malformed escapes unchanged.
/// Returns `None` if the result is not UTF-8.
fn decode(text: &[u8]) -> Option<Cow<'_, str>> {
    if text.contains(&b'+') {
        let with_spaces: Vec<u8> =
            text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
        return percent_decode(&with_spaces)
            .decode_utf8()
            .ok()
            .map(|text| Cow::Owned(text.into_owned()));
    }
    percent_decode(text).decode_utf8().ok()
}

struct Pairs<'a>(Vec<Pair<'a>>);

impl<'de> Deserializer<'de> for Pairs<'de> {
    type Error = FieldError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        visitor.visit_map(PairAccess { pairs: self.0.into_iter(), current: None })
    }

    /// Rejects unknown names. serde passes the names of the fields only to this method.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        if let Some(pair) = self.0.iter().find(|pair| !fields.contains(&pair.name.as_ref())) {
            return Err(FieldError::unknown_field(&pair.name, fields));
        }
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct PairAccess<'a> {
    pairs: std::vec::IntoIter<Pair<'a>>,
    current: Option<Pair<'a>>,
}

impl<'de> MapAccess<'de> for PairAccess<'de> {
    type Error = FieldError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, FieldError> {
        self.current = self.pairs.next();
        let Some(pair) = &self.current else { return Ok(None) };
        let name: StrDeserializer<'_, FieldError> = pair.name.as_ref().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, FieldError> {
        let pair =
            self.current.take().ok_or_else(|| FieldError::custom("has a value without a name"))?;
        seed.deserialize(Values(pair.values)).map_err(|error| error.with_field(&pair.name))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn names(count: usize) -> String {
        let names: Vec<_> = (0..count).map(|number| format!("n{number}&")).collect();
        names.concat()
    }

    #[test]
    fn repeated_name_collects_its_values_among_few_and_many_names() {
        for count in [0, 1, 7, 8, 9, 1000] {
            let text = format!("x=1&{}x=2&n0=3&x=4", names(count));
            let pairs = split_pairs(text.as_bytes()).expect("valid pairs");
            assert_eq!(pairs[0].values, ["1", "2", "4"], "{count}");
            let n0 = pairs.iter().find(|pair| pair.name == "n0").expect("a pair");
            assert_eq!(n0.values.last().map(AsRef::as_ref), Some("3"), "{count}");
            assert_eq!(pairs.len(), count.max(1) + 1, "{count}");
        }
    }

    /// Returns the duration of the fastest of several runs, which the load on the machine affects
    /// least.
    fn measure(text: &str) -> Duration {
        let run = |_| {
            let started = Instant::now();
            assert!(split_pairs(text.as_bytes()).is_ok());
            started.elapsed()
        };
        (0..9).map(run).min().unwrap_or_default()
    }

    #[test]
    fn parsing_many_names_takes_linear_time() {
        let (small, large) = (measure(&names(3_000)), measure(&names(30_000)));
        assert!(large < small * 40, "{small:?} for 3,000 names, {large:?} for 30,000");
    }
}
