//! The services: health, the OpenAPI document and the documentation page.

use mayfly_http::Code;
use serde_json::json;
use utoipa::openapi::{HttpMethod, Schema, schema::AdditionalProperties};

use crate::{
    header::ResponseHeader,
    operation::{Api::Both, Operation},
    schema::{content, object, one_of, string},
};

pub(crate) const TAG: &str = "service";
const JSON: &str = "application/json";

pub(crate) fn operations() -> Vec<Operation> {
    vec![get_health(), get_openapi(), get_docs(), get_home()]
}

fn get_health() -> Operation {
    let health = object().property("status", one_of(["ok"])).required("status");
    Operation::new(
        Both,
        HttpMethod::Get,
        "/health",
        "get_health",
        "Check whether the service responds",
    )
    .tag(TAG)
    .response(200, "The service responds.", JSON, content(health, json!({"status": "ok"})))
    .problems(&[Code::InvalidField])
}

fn get_openapi() -> Operation {
    let document = object()
        .property("openapi", one_of(["3.1.0"]))
        .required("openapi")
        .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(true)));
    Operation::new(Both, HttpMethod::Get, "/openapi.json", "get_openapi", "Get this document")
        .tag(TAG)
        .response(200, "The document.", JSON, content(document, json!({"openapi": "3.1.0"})))
        .response_headers(&[ResponseHeader::ETag])
        .not_modified_response()
        .problems(&[Code::InvalidField])
}

fn get_docs() -> Operation {
    let page = content(string(), "<!doctype html>…");
    Operation::new(Both, HttpMethod::Get, "/docs", "get_docs", "Browse this document")
        .tag(TAG)
        .description("A page that can also send requests. Its files are served under `/docs/` and need no external resources; `/docs/errors` explains the problem codes.")
        .response(200, "The page.", "text/html", page)
        .response_headers(&[ResponseHeader::ETag])
        .not_modified_response()
}

fn get_home() -> Operation {
    Operation::new(Both, HttpMethod::Get, "/", "get_home", "Redirect to the documentation")
        .tag(TAG)
        .description("Only for clients that accept `text/html`. Other clients receive 404.")
        .empty_response(302, "A redirect to `/docs`.")
        .response_headers(&[ResponseHeader::Location(
            "The documentation page of this API; absolute if its public URL is set (`MAYFLY_PUBLIC__INGEST_URL`, \
             `MAYFLY_PUBLIC__LIST_URL`).",
        )])
        .problems(&[Code::NotFound])
}

impl Operation {
    /// Adds a 304 response.
    fn not_modified_response(self) -> Self {
        self.empty_response(304, "Unchanged since the version in `If-None-Match`.")
            .response_headers(&[ResponseHeader::ETag])
    }
}
