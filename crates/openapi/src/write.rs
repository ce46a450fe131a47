//! `/message/write/`: a message as a query or a form.

use mayfly_http::Code;
use serde_json::json;
use utoipa::openapi::HttpMethod;

use crate::{
    operation::{Api::Ingest, Operation},
    schema::{closed_object, content, place, text, username},
};

pub(crate) const TAG: &str = "write";

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        get_write("/message/write/", "get_write"),
        post_write("/message/write/", "post_write"),
        get_write("/message/write", "get_write_without_slash"),
        post_write("/message/write", "post_write_without_slash"),
    ]
}

fn get_write(path: &'static str, id: &str) -> Operation {
    Operation::new(Ingest, HttpMethod::Get, path, id, "Send a message by a query")
        .tag(TAG)
        .says("It writes, therefore it knows no `HEAD`. `MAYFLY_INGEST__WRITE_BY_GET=off` switches it off: 405.")
        .needs("username", username(), "Who writes.")
        .needs("city", place(), "Where from.")
        .needs("state", place(), "Where that city is.")
        .needs("message", text(), "The text.")
        .refuses(&[Code::MethodNotAllowed])
        .accepts_one(202)
        .goes_into_an_inbox()
}

fn post_write(path: &'static str, id: &str) -> Operation {
    let form = closed_object()
        .property("username", username())
        .property("city", place())
        .property("state", place())
        .property("message", text())
        .required("username")
        .required("city")
        .required("state")
        .required("message");
    let example =
        json!({"username": "fred", "city": "New York", "state": "NY", "message": "Yo what up!"});
    Operation::new(Ingest, HttpMethod::Post, path, id, "Send a message by a form")
        .tag(TAG)
        .says(
            "All four are needed in one of two places: in the body, or in the query, as with `GET`. Where there is a query, \
             no body is looked at.",
        )
        .query("username", username(), "Who writes; needed where there is no body.")
        .query("city", place(), "Where from; needed where there is no body.")
        .query("state", place(), "Where that city is; needed where there is no body.")
        .query("message", text(), "The text; needed where there is no body.")
        .may_have_body("application/x-www-form-urlencoded", content(form, example))
        .accepts_one(202)
        .goes_into_an_inbox()
}
