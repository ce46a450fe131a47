//! `/message/write/`: a message sent with query parameters or a form.

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
    Operation::new(Ingest, HttpMethod::Get, path, id, "Send a message with query parameters")
        .tag(TAG)
        .description("This `GET` writes, so `HEAD` is not supported. Without `MAYFLY_INGEST__WRITE_BY_GET=on`, the response is 405.")
        .required_query("username", username(), "The username of the sender.")
        .required_query("city", place(), "The city of the sender.")
        .required_query("state", place(), "The state in which the city is located.")
        .required_query("message", text(), "The text of the message.")
        .problems(&[Code::MethodNotAllowed])
        .rejects_cross_origin()
        .accepts_message(202)
        .writes_to_inbox()
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
    Operation::new(Ingest, HttpMethod::Post, path, id, "Send a message with a form")
        .tag(TAG)
        .description(
            "The four fields are required either in the body or, as with `GET`, in the query. If there is a query, the \
             body is ignored.",
        )
        .optional_query("username", username(), "The username of the sender; required without a body.")
        .optional_query("city", place(), "The city of the sender; required without a body.")
        .optional_query("state", place(), "The state in which the city is located; required without a body.")
        .optional_query("message", text(), "The text of the message; required without a body.")
        .optional_body("application/x-www-form-urlencoded", content(form, example))
        .accepts_message(202)
        .writes_to_inbox()
}
