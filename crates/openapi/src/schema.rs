//! Schemas in few words.

use mayfly_core::limits;
use serde_json::Value;
use utoipa::openapi::{
    AllOfBuilder, ArrayBuilder, Content, ContentBuilder, ObjectBuilder, Ref, RefOr, Schema,
    SchemaFormat, Type,
    schema::{AdditionalProperties, AnyOfBuilder, SchemaType},
};

/// A schema, or the name of one.
pub(crate) type AnySchema = RefOr<Schema>;

/// Control characters, as `char::is_control` has them.
const NO_CONTROL: &str = r"^[^\x00-\x1f\x7f-\x9f]*$";
const NO_NUL: &str = r"^[^\x00]*$";
const CHANNEL: &str = "^[A-Za-z0-9._:-]+$";
const HOST: &str = "^[A-Za-z0-9._:-]+$";
const INSTANT: &str = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$";

/// A schema that stands under a name in the document.
pub(crate) fn named(name: &str) -> AnySchema {
    Ref::from_schema_name(name).into()
}

/// An object without further members.
pub(crate) fn closed_object() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)))
}

/// An object that may grow.
pub(crate) fn object() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Object)
}

/// A string.
pub(crate) fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// A string that a pattern describes.
pub(crate) fn pattern(pattern: &str) -> ObjectBuilder {
    string().pattern(Some(pattern))
}

/// A string in one of the formats of JSON Schema.
pub(crate) fn format(format: &str) -> ObjectBuilder {
    string().format(Some(SchemaFormat::Custom(format.to_owned())))
}

/// One of a few words.
pub(crate) fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> ObjectBuilder {
    string().enum_values(Some(words))
}

/// A whole number in a range.
pub(crate) fn whole(from: usize, to: usize) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(from)).maximum(Some(to))
}

/// How many of something there are.
pub(crate) fn count() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0_usize))
}

/// True or false.
pub(crate) fn boolean() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Boolean)
}

/// The same, or null.
pub(crate) fn or_null(schema: ObjectBuilder) -> ObjectBuilder {
    let mut object = schema.build();
    if let SchemaType::Type(one) = object.schema_type {
        object.schema_type = SchemaType::from_iter([one, Type::Null]);
    }
    object.into()
}

/// A list of this many.
pub(crate) fn array(items: impl Into<AnySchema>, from: usize, to: usize) -> ArrayBuilder {
    ArrayBuilder::new()
        .items(items.into())
        .min_items((from > 0).then_some(from))
        .max_items(Some(to))
}

/// The name of a channel.
pub(crate) fn channel() -> ObjectBuilder {
    pattern(CHANNEL).min_length(Some(1)).max_length(Some(limits::CHANNEL_CHARS_MAX))
}

/// Whose inbox a message lies in.
pub(crate) fn username() -> ObjectBuilder {
    pattern(NO_CONTROL).min_length(Some(1)).max_length(Some(limits::USERNAME_CHARS_MAX))
}

/// What a message says.
pub(crate) fn text() -> ObjectBuilder {
    pattern(NO_NUL).min_length(Some(1)).max_length(Some(limits::TEXT_CHARS_MAX))
}

/// A city or a state.
pub(crate) fn place() -> ObjectBuilder {
    pattern(NO_NUL).min_length(Some(1)).max_length(Some(limits::PLACE_CHARS_MAX))
}

/// The id of a video.
pub(crate) fn video_id() -> ObjectBuilder {
    pattern(NO_NUL).min_length(Some(1)).max_length(Some(limits::VIDEO_ID_CHARS_MAX))
}

/// The id of a play.
pub(crate) fn play_id() -> ObjectBuilder {
    pattern(NO_NUL).min_length(Some(1)).max_length(Some(limits::PLAY_ID_CHARS_MAX))
}

/// The name of a host.
pub(crate) fn host() -> ObjectBuilder {
    pattern(HOST).min_length(Some(1)).max_length(Some(limits::HOST_CHARS_MAX))
}

/// The path of a page.
pub(crate) fn page_path() -> ObjectBuilder {
    no_control().min_length(Some(1)).max_length(Some(limits::PATH_CHARS_MAX))
}

/// What a page is called.
pub(crate) fn page_title() -> ObjectBuilder {
    no_control().min_length(Some(1)).max_length(Some(limits::TITLE_CHARS_MAX))
}

/// A string without control characters.
pub(crate) fn no_control() -> ObjectBuilder {
    pattern(NO_CONTROL)
}

/// Who visits.
pub(crate) fn visitor() -> ObjectBuilder {
    pattern(NO_NUL).min_length(Some(1)).max_length(Some(limits::VISITOR_CHARS_MAX))
}

/// Where a walk stands.
pub(crate) fn cursor() -> ObjectBuilder {
    const CHARS_MAX: usize = 256;
    pattern("^[A-Za-z0-9._~-]+$").min_length(Some(1)).max_length(Some(CHARS_MAX))
}

/// A time to live in seconds.
pub(crate) fn ttl() -> ObjectBuilder {
    let seconds = |limit: std::time::Duration| usize::try_from(limit.as_secs()).unwrap_or_default();
    whole(0, seconds(limits::TTL_MAX)).default(Some(seconds(limits::TTL_DEFAULT).into()))
}

/// The id of a message.
pub(crate) fn message_id() -> ObjectBuilder {
    format("uuid")
}

/// An instant, as all of Mayfly writes it.
pub(crate) fn instant() -> ObjectBuilder {
    format("date-time").pattern(Some(INSTANT))
}

/// Any JSON, in which no string holds U+0000.
pub(crate) fn json() -> AnySchema {
    let plain = ObjectBuilder::new().schema_type(SchemaType::from_iter([
        Type::Null,
        Type::Boolean,
        Type::Number,
    ]));
    let members = object()
        .property_names(Some(Schema::Object(pattern(NO_NUL).build())))
        .additional_properties(Some(named("Json")));
    AnyOfBuilder::new()
        .description(Some(format!(
            "Any JSON, kept digit by digit and key by key; blanks between tokens go. At most {} levels deep. Refused \
             are U+0000, lone surrogates and numbers that a double cannot hold.",
            limits::DOCUMENT_LEVELS_MAX
        )))
        .item(plain)
        .item(pattern(NO_NUL))
        .item(ArrayBuilder::new().items(named("Json")))
        .item(members)
        .into()
}

/// Something, and at least one of these members with a value.
pub(crate) fn with_any_of(object: ObjectBuilder, members: [&str; 2]) -> AllOfBuilder {
    let not_null = || {
        use Type::{Array, Boolean, Number, Object, String};
        let kinds = SchemaType::from_iter([String, Number, Boolean, Array, Object]);
        ObjectBuilder::new().schema_type(kinds)
    };
    let any = members.into_iter().fold(AnyOfBuilder::new(), |any, member| {
        any.item(
            ObjectBuilder::new()
                .schema_type(SchemaType::AnyValue)
                .property(member, not_null())
                .required(member),
        )
    });
    AllOfBuilder::new().item(object).item(Schema::AnyOf(any.build()))
}

/// An object with members that are always there.
pub(crate) fn with_all<const N: usize>(
    object: ObjectBuilder,
    members: [(&str, ObjectBuilder); N],
) -> ObjectBuilder {
    members
        .into_iter()
        .fold(object, |object, (name, schema)| object.property(name, schema).required(name))
}

/// A body of this schema, with an example.
pub(crate) fn content(schema: impl Into<AnySchema>, example: impl Into<Value>) -> Content {
    ContentBuilder::new().schema(Some(schema.into())).example(Some(example.into())).build()
}
