//! Refusals and failures as answers: `application/problem+json`, by code.

use mayfly_core::limits;
use mayfly_http::Code;
use serde_json::{Value, json};
use utoipa::openapi::{
    AllOfBuilder, ContentBuilder, ObjectBuilder, Response, ResponseBuilder, Type,
    example::ExampleBuilder, schema::SchemaType,
};

use crate::{
    header::Answered,
    schema::{AnySchema, array, named, object, pattern, string, words},
};

/// What every problem has.
pub(crate) fn problem() -> AnySchema {
    let field = object()
        .property("field", string().description(Some("The field, parameter or header.")))
        .property("message", string().description(Some("Its rule, to be read after its name.")))
        .required("field")
        .required("message");
    object()
        .description(Some("What is wrong (RFC 9457). `code` is stable."))
        .property("type", pattern("^urn:mayfly:problem:[a-z_]+$"))
        .property("title", string())
        .property("status", status([400, 599]))
        .property("detail", string())
        .property("instance", pattern("^urn:mayfly:request:[A-Za-z0-9._-]{1,128}$"))
        .property("code", words(Code::ALL.map(Code::as_str)))
        .property("errors", array(field, 1, limits::FIELD_ERRORS_MAX))
        .required("type")
        .required("title")
        .required("status")
        .required("detail")
        .required("instance")
        .required("code")
        .into()
}

fn status([from, to]: [u16; 2]) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(from)).maximum(Some(to))
}

/// The name of the answer that carries one of these codes.
pub(crate) fn name_of(codes: &[Code]) -> String {
    codes.iter().map(|code| format!("{code:?}")).collect::<Vec<_>>().join("Or")
}

/// The answer that carries one of these codes, which are of one status.
pub(crate) fn answer(codes: &[Code]) -> Response {
    let status_of = codes.first().map_or(500, |code| code.status().as_u16());
    let narrowed = ObjectBuilder::new()
        .schema_type(SchemaType::AnyValue)
        .property("status", status([status_of; 2]))
        .property("code", words(codes.iter().map(|code| code.as_str())));
    let schema = AllOfBuilder::new().item(named("Problem")).item(narrowed);
    let examples = codes.iter().map(|code| {
        let example = ExampleBuilder::new().summary(code.title()).value(Some(example_of(*code)));
        (code.as_str(), example.build())
    });
    let content = ContentBuilder::new()
        .schema(Some(AnySchema::from(schema)))
        .examples_from_iter(examples)
        .build();
    let description =
        codes.iter().map(|code| format!("`{}`", code.as_str())).collect::<Vec<_>>().join(" or ");
    headers_of(codes)
        .into_iter()
        .fold(ResponseBuilder::new(), |answer, header| {
            answer.header(header.name(), header.describe())
        })
        .description(description)
        .content("application/problem+json", content)
        .build()
}

fn headers_of(codes: &[Code]) -> Vec<Answered> {
    let mut headers = Answered::ALWAYS.to_vec();
    if codes.contains(&Code::MethodNotAllowed) {
        headers.push(Answered::Allow);
    }
    if codes.contains(&Code::Unauthorized) {
        headers.push(Answered::WwwAuthenticate);
    }
    if codes.contains(&Code::RateLimited) {
        headers.extend(Answered::LIMIT);
    }
    if codes.iter().any(|code| code.wants_retry_after()) {
        headers.push(Answered::RetryAfter);
    }
    headers
}

fn example_of(code: Code) -> Value {
    let mut example = json!({
        "type": format!("urn:mayfly:problem:{}", code.as_str()),
        "title": code.title(),
        "status": code.status().as_u16(),
        "detail": code.detail(),
        "instance": "urn:mayfly:request:019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47",
        "code": code.as_str(),
    });
    let wrong = match code {
        Code::InvalidField => Some(("ttl", mayfly_core::Ttl::RULE)),
        Code::InvalidCursor => Some(("cursor", "is not a cursor that this service gave out")),
        _ => None,
    };
    if let Some((field, message)) = wrong {
        example["errors"] = json!([{"field": field, "message": message}]);
    }
    example
}
