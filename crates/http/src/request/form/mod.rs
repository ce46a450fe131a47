//! Deserialization of queries and forms: name-value pairs separated by `&`.

mod error;
mod value;

use std::borrow::Cow;

use percent_encoding::percent_decode;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess,
    Visitor, value::StrDeserializer,
};

use self::{error::FieldError, value::Values};
use crate::{Code, Problem};

/// Deserializes pairs into a struct. Unknown, repeated and invalid fields are rejected by name.
///
/// A field of type `Vec` collects a repeated name. The struct does not need `deny_unknown_fields`;
/// `flatten` is not supported.
pub(super) fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    let pairs = split_pairs(text)?;
    T::deserialize(Pairs(pairs)).map_err(|error| {
        Problem::new(Code::InvalidField).field(error.field.unwrap_or_default(), error.message)
    })
}

/// Returns the name of the first pair.
pub(super) fn first_name(text: &[u8]) -> Result<Option<String>, Problem> {
    Ok(split_pairs(text)?.into_iter().next().map(|pair| pair.name.into_owned()))
}

/// A name and all of its values.
struct Pair<'a> {
    name: Cow<'a, str>,
    values: Vec<Cow<'a, str>>,
}

fn split_pairs(text: &[u8]) -> Result<Vec<Pair<'_>>, Problem> {
    let mut pairs: Vec<Pair<'_>> = Vec::new();
    for part in text.split(|byte| *byte == b'&').filter(|part| !part.is_empty()) {
        let separator = part.iter().position(|byte| *byte == b'=');
        let (name, value) =
            separator.map_or((part, &part[part.len()..]), |at| (&part[..at], &part[at + 1..]));
        let name =
            decode(name).ok_or_else(|| not_utf8(String::from_utf8_lossy(name).into_owned()))?;
        let value = decode(value).ok_or_else(|| not_utf8(name.clone().into_owned()))?;
        match pairs.iter_mut().find(|pair| pair.name == name) {
            Some(pair) => pair.values.push(value),
            None => pairs.push(Pair { name, values: vec![value] }),
        }
    }
    Ok(pairs)
}

fn not_utf8(field: String) -> Problem {
    Problem::new(Code::InvalidField).field(field, "must be percent-encoded UTF-8")
}

/// Decodes `+` as a space and percent-encoded bytes. Incomplete escapes are literal.
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

    /// Rejects unknown names. Only here, serde passes the names of the fields.
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
