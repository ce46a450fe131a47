//! Deserializes the values of one name.

use std::borrow::Cow;

use serde::de::{
    Deserializer, EnumAccess, Error as _, IntoDeserializer, Visitor,
    value::{CowStrDeserializer, SeqDeserializer},
};

use super::error::FieldError;

/// All values of a name. Only lists may have more than one value.
pub(super) struct Values<'a>(pub(super) Vec<Cow<'a, str>>);

impl<'a> Values<'a> {
    fn single(self) -> Result<Cow<'a, str>, FieldError> {
        let mut values = self.0.into_iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value),
            _ => Err(FieldError::custom("must be given only once")),
        }
    }

    /// Parses the only value. `expected` describes valid values in the error message.
    fn parse<T: std::str::FromStr>(self, expected: &str) -> Result<T, FieldError> {
        self.single()?.parse().map_err(|_| FieldError::custom(format_args!("must be {expected}")))
    }
}

impl<'a> IntoDeserializer<'a, FieldError> for Values<'a> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $kind:ty,)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
            let expected = format!("an integer between {} and {}", <$kind>::MIN, <$kind>::MAX);
            visitor.$visit(self.parse(&expected)?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Values<'de> {
    type Error = FieldError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        match self.single()? {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    integers! {
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        visitor.visit_bool(self.parse("true or false")?)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        visitor.visit_f64(self.parse("a number")?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        visitor.visit_seq(SeqDeserializer::new(self.0.into_iter().map(|value| Values(vec![value]))))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        visitor.visit_enum(Variant(self.single()?.into_deserializer()))
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct tuple tuple_struct map struct identifier ignored_any
    }
}

/// The name of an enum variant.
struct Variant<'a>(CowStrDeserializer<'a, FieldError>);

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = FieldError;
    type Variant = <CowStrDeserializer<'de, FieldError> as EnumAccess<'de>>::Variant;

    fn variant_seed<V: serde::de::DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self::Variant), FieldError> {
        self.0.variant_seed(seed)
    }
}
