//! The services themselves: health, this document, its page.

use mayfly_http::Code;
use serde_json::json;
use utoipa::openapi::{HttpMethod, Schema, schema::AdditionalProperties};

use crate::{
    header::Answered,
    operation::{Api::Both, Operation},
    schema::{content, object, string, words},
};

pub(crate) const TAG: &str = "service";
const JSON: &str = "application/json";

pub(crate) fn operations() -> Vec<Operation> {
    vec![get_health(), get_openapi(), get_docs(), get_home()]
}

fn get_health() -> Operation {
    let health = object().property("status", words(["ok"])).required("status");
    Operation::new(Both, HttpMethod::Get, "/health", "get_health", "Ask whether it answers")
        .tag(TAG)
        .answers(200, "It does.", JSON, content(health, json!({"status": "ok"})))
        .refuses(&[Code::InvalidField])
}

fn get_openapi() -> Operation {
    let document = object()
        .property("openapi", words(["3.1.0"]))
        .required("openapi")
        .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(true)));
    Operation::new(Both, HttpMethod::Get, "/openapi.json", "get_openapi", "Read this document")
        .tag(TAG)
        .answers(200, "The document.", JSON, content(document, json!({"openapi": "3.1.0"})))
        .headers(&[Answered::ETag])
        .known_by_tag()
        .refuses(&[Code::InvalidField])
}

fn get_docs() -> Operation {
    let page = content(string(), "<!doctype html>…");
    Operation::new(Both, HttpMethod::Get, "/docs", "get_docs", "Browse this document")
        .tag(TAG)
        .says("A page that sends requests, too. Its files lie under `/docs/`; it needs no network.")
        .answers(200, "The page.", "text/html", page)
        .headers(&[Answered::ETag])
        .known_by_tag()
}

fn get_home() -> Operation {
    Operation::new(Both, HttpMethod::Get, "/", "get_home", "Go to the page")
        .tag(TAG)
        .says("Only for those who take `text/html`.")
        .answers_plainly(302, "To `/docs`.")
        .headers(&[Answered::Location(
            "The page of this API; absolute where its own public URL is set (`MAYFLY_PUBLIC__INGEST_URL`, \
             `MAYFLY_PUBLIC__LIST_URL`).",
        )])
        .refuses(&[Code::NotFound])
}

impl Operation {
    /// Answers 304 to who has it already.
    fn known_by_tag(self) -> Self {
        self.answers_plainly(304, "It is still what `If-None-Match` names.")
            .headers(&[Answered::ETag])
    }
}
