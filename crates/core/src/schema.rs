//! OpenAPI schemas for types with rules that a derive macro cannot express. The derived schemas of
//! structs refer to these schemas.

use std::borrow::Cow;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ArrayBuilder, ObjectBuilder, Ref, RefOr, Schema, SchemaFormat, Type,
        schema::{AnyOfBuilder, SchemaType},
    },
};

use crate::{
    Channel, Document, Host, MessageId, PagePath, PageTitle, Place, Text, Timestamp, Ttl, Username,
    VideoId, Visitor, limits, plays::PlayId,
};

/// A pattern for text without control characters, as defined by `char::is_control`.
const NO_CONTROL: &str = r"^[^\x00-\x1f\x7f-\x9f]*$";
const NO_NUL: &str = r"^[^\x00]*$";
/// A pattern for the name of a channel or a host.
const NAME: &str = "^[A-Za-z0-9._:-]+$";
const INSTANT: &str = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$";

/// Implements the schema traits for each type.
macro_rules! define_schemas {
    ($($name:ident: $schema:expr,)+) => {$(
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                $schema.into()
            }
        }

        impl ToSchema for $name {}
    )+};
}

define_schemas! {
    Channel: text(NAME, limits::CHANNEL_CHARS_MAX),
    Username: text(NO_CONTROL, limits::USERNAME_CHARS_MAX),
    Text: text(NO_NUL, limits::TEXT_CHARS_MAX),
    Place: text(NO_NUL, limits::PLACE_CHARS_MAX),
    VideoId: text(NO_NUL, limits::VIDEO_ID_CHARS_MAX),
    PlayId: text(NO_NUL, limits::PLAY_ID_CHARS_MAX),
    Host: text(NAME, limits::HOST_CHARS_MAX),
    PagePath: text(NO_CONTROL, limits::PATH_CHARS_MAX),
    PageTitle: text(NO_CONTROL, limits::TITLE_CHARS_MAX),
    Visitor: text(NO_NUL, limits::VISITOR_CHARS_MAX),
    Ttl: ttl(),
    MessageId: string().format(Some(SchemaFormat::Custom("uuid".to_owned()))),
    Timestamp: string()
        .format(Some(SchemaFormat::Custom("date-time".to_owned())))
        .pattern(Some(INSTANT)),
}

impl PartialSchema for Document {
    fn schema() -> RefOr<Schema> {
        document()
    }
}

impl ToSchema for Document {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Json")
    }
}

fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// Returns the schema for a text of 1 to `chars_max` characters that matches `pattern`.
fn text(pattern: &str, chars_max: usize) -> ObjectBuilder {
    string().pattern(Some(pattern)).min_length(Some(1)).max_length(Some(chars_max))
}

fn ttl() -> ObjectBuilder {
    let seconds = |limit: std::time::Duration| usize::try_from(limit.as_secs()).unwrap_or_default();
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(0_usize))
        .maximum(Some(seconds(limits::TTL_MAX)))
        .default(Some(seconds(limits::TTL_DEFAULT).into()))
}

/// Returns the schema for any JSON value without U+0000.
fn document() -> RefOr<Schema> {
    let reference = || Ref::from_schema_name(Document::name());
    let plain = ObjectBuilder::new().schema_type(SchemaType::from_iter([
        Type::Null,
        Type::Boolean,
        Type::Number,
    ]));
    let members = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property_names(Some(Schema::Object(string().pattern(Some(NO_NUL)).build())))
        .additional_properties(Some(reference()));
    AnyOfBuilder::new()
        .description(Some(format!(
            "Any JSON value with at most {} levels of nesting. Digits and the order of keys are \
             preserved; insignificant whitespace is removed. U+0000, lone surrogates and numbers that \
             overflow a double are rejected.",
            limits::DOCUMENT_LEVELS_MAX
        )))
        .item(plain)
        .item(string().pattern(Some(NO_NUL)))
        .item(ArrayBuilder::new().items(reference()))
        .item(members)
        .into()
}
