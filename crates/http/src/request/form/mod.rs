//! Deserializes queries and forms: name-value pairs separated by `&`.

mod error;
mod integer;
mod value;

use std::borrow::Cow;

use percent_encoding::percent_decode;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess,
    Visitor, value::StrDeserializer,
};

pub use self::integer::Integer;
use self::{error::FieldError, value::Values};
use crate::Problem;

/// Deserializes pairs into a struct. Unknown, repeated and invalid fields are rejected with a
/// problem that names the field.
///
/// A field of type `Vec` collects the values of a repeated name. The struct does not need
/// `deny_unknown_fields`; `flatten` is not supported.
pub(super) fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    T::deserialize(Form(text)).map_err(Problem::from)
}

/// Returns the name of the first pair, or `None` if there are no pairs.
pub(super) fn first_name(text: &[u8]) -> Result<Option<String>, Problem> {
    let first = split_parts(text).next().map(|(name, _)| decode_name(name)).transpose()?;
    Ok(first.map(Cow::into_owned))
}

/// A field and all of its values.
struct Pair<'a> {
    name: &'static str,
    values: Vec<Cow<'a, str>>,
}

/// Collects the values of each field. Ends at the first unknown name, so each name is compared with
/// the few names of the fields, regardless of the number of distinct names.
fn collect_values<'a>(
    text: &'a [u8],
    fields: &'static [&'static str],
) -> Result<Vec<Pair<'a>>, FieldError> {
    let mut pairs: Vec<Pair<'_>> = Vec::new();
    for (name, value) in split_parts(text) {
        let name = decode_name(name)?;
        let Some(field) = fields.iter().copied().find(|field| *field == name) else {
            return Err(FieldError::unknown_field(&name, fields));
        };
        let value = decode(value).ok_or_else(|| FieldError::not_utf8(field))?;
        match pairs.iter_mut().find(|pair| pair.name == field) {
            Some(pair) => pair.values.push(value),
            None => pairs.push(Pair { name: field, values: vec![value] }),
        }
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

fn decode_name(name: &[u8]) -> Result<Cow<'_, str>, FieldError> {
    decode(name).ok_or_else(|| FieldError::not_utf8(&String::from_utf8_lossy(name)))
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

struct Form<'a>(&'a [u8]);

impl<'de> Deserializer<'de> for Form<'de> {
    type Error = FieldError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, FieldError> {
        Err(FieldError::custom("only a struct has the names of the fields"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        let pairs = collect_values(self.0, fields)?;
        visitor.visit_map(PairAccess { pairs: pairs.into_iter(), current: None })
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
        let name: StrDeserializer<'_, FieldError> = pair.name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, FieldError> {
        let pair =
            self.current.take().ok_or_else(|| FieldError::custom("has a value without a name"))?;
        seed.deserialize(Values(pair.values)).map_err(|error| error.with_field(pair.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[&str] = &["x", "y"];

    #[test]
    fn repeated_name_collects_its_values() {
        let pairs = collect_values(b"x=1&y=2&x=3&&x&%79=+4", FIELDS).expect("known names");
        let pairs: Vec<_> = pairs.into_iter().map(|pair| (pair.name, pair.values)).collect();
        let expected = [("x", vec!["1", "3", ""]), ("y", vec!["2", " 4"])];
        assert_eq!(
            pairs,
            expected.map(|(name, values)| (name, values.into_iter().map(Cow::from).collect()))
        );
    }

    /// The values after an unknown name are not decoded.
    #[test]
    fn first_error_ends_the_search() {
        for (text, field, rule) in [
            ("x=1&z=2&x=%ff", "z", "is unknown; expected one of x, y"),
            ("x=%ff&z=2", "x", "must be percent-encoded UTF-8"),
            ("%ff=1", "%ff", "must be percent-encoded UTF-8"),
        ] {
            let error = collect_values(text.as_bytes(), FIELDS).err().expect("an error");
            assert_eq!((error.field.as_deref(), &*error.message), (Some(field), rule), "{text}");
        }
    }
}
