//! Error responses: `application/problem+json`, by code.

use mayfly_core::limits;
use mayfly_http::Code;
use serde_json::{Value, json};
use utoipa::openapi::{
    AllOfBuilder, ContentBuilder, ObjectBuilder, Response, ResponseBuilder, Type,
    example::ExampleBuilder, schema::SchemaType,
};

use crate::{
    header::ResponseHeader,
    schema::{AnySchema, array, object, one_of, pattern, schema_ref, string},
};

/// Returns the schema of problems.
pub(crate) fn problem() -> AnySchema {
    let field = object()
        .property("field", string().description(Some("The field, parameter or header.")))
        .property(
            "message",
            string()
                .description(Some("The violated rule, worded to follow the name of the field.")),
        )
        .required("field")
        .required("message");
    object()
        .description(Some(
            "An error (RFC 9457). `code` is stable; `type` refers to its documentation.",
        ))
        .property(
            "type",
            pattern("^(https?://[^#]+)?/docs/errors#[a-z_]+$").description(Some(
                "The URL of the section that explains `code`; absolute if the public URL of the service is set.",
            )),
        )
        .property("title", string())
        .property("status", status([400, 599]))
        .property("detail", string())
        .property("instance", pattern("^urn:mayfly:request:[A-Za-z0-9._-]{1,128}$"))
        .property("code", one_of(Code::ALL.map(Code::as_str)))
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

/// Returns the name of the response for these codes.
pub(crate) fn response_name(codes: &[Code]) -> String {
    codes.iter().map(|code| format!("{code:?}")).collect::<Vec<_>>().join("Or")
}

/// Returns the response for codes that have the same status.
pub(crate) fn response(codes: &[Code]) -> Response {
    let code_status = codes.first().map_or(500, |code| code.status().as_u16());
    let narrowed = ObjectBuilder::new()
        .schema_type(SchemaType::AnyValue)
        .property("status", status([code_status; 2]))
        .property("code", one_of(codes.iter().map(|code| code.as_str())));
    let schema = AllOfBuilder::new().item(schema_ref("Problem")).item(narrowed);
    let examples = codes.iter().map(|code| {
        let example = ExampleBuilder::new().summary(code.title()).value(Some(example(*code)));
        (code.as_str(), example.build())
    });
    let content = ContentBuilder::new()
        .schema(Some(AnySchema::from(schema)))
        .examples_from_iter(examples)
        .build();
    let description =
        codes.iter().map(|code| format!("`{}`", code.as_str())).collect::<Vec<_>>().join(" or ");
    response_headers(codes)
        .into_iter()
        .fold(ResponseBuilder::new(), |response, header| {
            response.header(header.name(), header.describe())
        })
        .description(description)
        .content("application/problem+json", content)
        .build()
}

fn response_headers(codes: &[Code]) -> Vec<ResponseHeader> {
    let mut headers = ResponseHeader::ALWAYS.to_vec();
    if codes.contains(&Code::MethodNotAllowed) {
        headers.push(ResponseHeader::Allow);
    }
    if codes.contains(&Code::Unauthorized) {
        headers.push(ResponseHeader::WwwAuthenticate);
    }
    if codes.contains(&Code::RateLimited) {
        headers.extend(ResponseHeader::LIMIT);
    }
    if codes.iter().any(|code| code.has_retry_after()) {
        headers.push(ResponseHeader::RetryAfter);
    }
    headers
}

fn example(code: Code) -> Value {
    let mut document = json!({
        "type": code.documentation_url(),
        "title": code.title(),
        "status": code.status().as_u16(),
        "detail": code.detail(),
        "instance": "urn:mayfly:request:019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47",
        "code": code.as_str(),
    });
    let field_error = match code {
        Code::InvalidField => Some(("ttl", mayfly_core::Ttl::RULE)),
        Code::InvalidCursor => Some(("cursor", "is not a cursor issued by this service")),
        _ => None,
    };
    if let Some((field, message)) = field_error {
        if code == Code::InvalidField {
            document["detail"] = json!(format!("`{field}` {message}."));
        }
        document["errors"] = json!([{"field": field, "message": message}]);
    }
    document
}
