//! Constructors for schemas.

use mayfly_core::{
    Channel, Host, MessageId, PagePath, PageTitle, Place, Text, Ttl, Username, VideoId, Visitor,
    plays::PlayId,
};
use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        AllOfBuilder, ArrayBuilder, Content, ContentBuilder, ObjectBuilder, Ref, RefOr, Schema,
        SchemaFormat, Type,
        schema::{AdditionalProperties, AnyOfBuilder, SchemaType},
    },
};

/// A schema or a reference to one.
pub(crate) type AnySchema = RefOr<Schema>;

/// A pattern for text without control characters, as defined by `char::is_control`.
const NO_CONTROL: &str = r"^[^\x00-\x1f\x7f-\x9f]*$";

/// Returns the schema of a type and the schemas that it refers to, with their names.
pub(crate) fn schemas_of<T: ToSchema>() -> Vec<(String, AnySchema)> {
    let mut schemas = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut schemas);
    schemas
}

/// Returns the schema of a type as a builder.
///
/// # Panics
/// Panics if the schema is a reference, an array or a combination of schemas.
pub(crate) fn object_of<T: PartialSchema>() -> ObjectBuilder {
    match T::schema() {
        RefOr::T(Schema::Object(object)) => object.into(),
        _ => unreachable!("invariant: the type has one inline schema"),
    }
}

/// Returns a reference to a schema in the document.
pub(crate) fn schema_ref(name: &str) -> AnySchema {
    Ref::from_schema_name(name).into()
}

/// Returns an object schema that does not allow additional members.
pub(crate) fn closed_object() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)))
}

/// Returns an object schema that allows additional members.
pub(crate) fn object() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Object)
}

/// Returns a string schema.
pub(crate) fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// Returns a string schema with a pattern.
pub(crate) fn pattern(pattern: &str) -> ObjectBuilder {
    string().pattern(Some(pattern))
}

/// Returns a string schema with a JSON Schema format.
pub(crate) fn format(format: &str) -> ObjectBuilder {
    string().format(Some(SchemaFormat::Custom(format.to_owned())))
}

/// Returns a string schema with a fixed set of values.
pub(crate) fn one_of<'a>(values: impl IntoIterator<Item = &'a str>) -> ObjectBuilder {
    string().enum_values(Some(values))
}

/// Returns an integer schema with a range.
pub(crate) fn integer(from: usize, to: usize) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(from)).maximum(Some(to))
}

/// Returns the schema of a non-negative integer.
pub(crate) fn count() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0_usize))
}

/// Returns a boolean schema.
pub(crate) fn boolean() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Boolean)
}

/// Returns `schema` with null as an additional type.
pub(crate) fn nullable(schema: ObjectBuilder) -> ObjectBuilder {
    let mut object = schema.build();
    if let SchemaType::Type(one) = object.schema_type {
        object.schema_type = SchemaType::from_iter([one, Type::Null]);
    }
    object.into()
}

/// Returns an array schema with a range of lengths.
pub(crate) fn array(items: impl Into<AnySchema>, from: usize, to: usize) -> ArrayBuilder {
    ArrayBuilder::new()
        .items(items.into())
        .min_items((from > 0).then_some(from))
        .max_items(Some(to))
}

/// Returns the schema of a channel name.
pub(crate) fn channel() -> ObjectBuilder {
    object_of::<Channel>()
}

/// Returns the schema of a username.
pub(crate) fn username() -> ObjectBuilder {
    object_of::<Username>()
}

/// Returns the schema of the text of a message.
pub(crate) fn text() -> ObjectBuilder {
    object_of::<Text>()
}

/// Returns the schema of a city or state.
pub(crate) fn place() -> ObjectBuilder {
    object_of::<Place>()
}

/// Returns the schema of a video ID.
pub(crate) fn video_id() -> ObjectBuilder {
    object_of::<VideoId>()
}

/// Returns the schema of a play ID.
pub(crate) fn play_id() -> ObjectBuilder {
    object_of::<PlayId>()
}

/// Returns the schema of a host name.
pub(crate) fn host() -> ObjectBuilder {
    object_of::<Host>()
}

/// Returns the schema of a page path.
pub(crate) fn page_path() -> ObjectBuilder {
    object_of::<PagePath>()
}

/// Returns the schema of a page title.
pub(crate) fn page_title() -> ObjectBuilder {
    object_of::<PageTitle>()
}

/// Returns the schema of a string without control characters.
pub(crate) fn no_control() -> ObjectBuilder {
    pattern(NO_CONTROL)
}

/// Returns the schema of a visitor ID.
pub(crate) fn visitor() -> ObjectBuilder {
    object_of::<Visitor>()
}

/// Returns the schema of a pagination cursor.
pub(crate) fn cursor() -> ObjectBuilder {
    const CHARS_MAX: usize = 256;
    pattern("^[A-Za-z0-9._~-]+$").min_length(Some(1)).max_length(Some(CHARS_MAX))
}

/// Returns the schema of a time to live in seconds.
pub(crate) fn ttl() -> ObjectBuilder {
    object_of::<Ttl>()
}

/// Returns the schema of a message ID.
pub(crate) fn message_id() -> ObjectBuilder {
    object_of::<MessageId>()
}

/// Returns the schema of an object in which at least one of `members` is present and not null.
pub(crate) fn with_any_of(object: ObjectBuilder, members: [&str; 2]) -> AllOfBuilder {
    let not_null = || {
        use Type::{Array, Boolean, Number, Object, String};
        let types = SchemaType::from_iter([String, Number, Boolean, Array, Object]);
        ObjectBuilder::new().schema_type(types)
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

/// Adds required members to an object schema.
pub(crate) fn with_required<const N: usize>(
    object: ObjectBuilder,
    members: [(&str, ObjectBuilder); N],
) -> ObjectBuilder {
    members
        .into_iter()
        .fold(object, |object, (name, schema)| object.property(name, schema).required(name))
}

/// Returns the content of a body, with a schema and an example.
pub(crate) fn content(schema: impl Into<AnySchema>, example: impl Into<Value>) -> Content {
    ContentBuilder::new().schema(Some(schema.into())).example(Some(example.into())).build()
}
