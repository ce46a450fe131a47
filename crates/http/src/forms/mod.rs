//! Pairs of names and values, as queries and forms have them, read strictly into a struct.

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

/// Reads pairs into a struct: what is unknown, double or of the wrong kind is refused by name.
///
/// Lists take a name as often as it comes. The struct needs no `deny_unknown_fields`, and must not use `flatten`.
pub(crate) fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    let pairs = split(text)?;
    T::deserialize(Pairs(pairs)).map_err(|error| {
        Problem::new(Code::InvalidField).field(error.field.unwrap_or_default(), error.message)
    })
}

/// Names the first pair.
pub(crate) fn first_name(text: &[u8]) -> Result<Option<String>, Problem> {
    Ok(split(text)?.into_iter().next().map(|pair| pair.name.into_owned()))
}

/// A name and all values it came with.
struct Pair<'a> {
    name: Cow<'a, str>,
    values: Vec<Cow<'a, str>>,
}

fn split(text: &[u8]) -> Result<Vec<Pair<'_>>, Problem> {
    let mut pairs: Vec<Pair<'_>> = Vec::new();
    for part in text.split(|byte| *byte == b'&').filter(|part| !part.is_empty()) {
        let middle = part.iter().position(|byte| *byte == b'=');
        let (name, value) =
            middle.map_or((part, &part[part.len()..]), |at| (&part[..at], &part[at + 1..]));
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
    Problem::new(Code::InvalidField).field(field, "must be UTF-8")
}

/// A plus is a blank; percent signs that begin nothing stand for themselves.
fn decode(text: &[u8]) -> Option<Cow<'_, str>> {
    if text.contains(&b'+') {
        let spaced: Vec<u8> =
            text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
        return percent_decode(&spaced)
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

    /// The one place where the names that there are can be known.
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
            self.current.take().ok_or_else(|| FieldError::custom("a value without a name"))?;
        seed.deserialize(Values(pair.values)).map_err(|error| error.of(&pair.name))
    }
}
