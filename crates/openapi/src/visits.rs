//! Visits: who is on which page of a site.

use mayfly_core::limits;
use mayfly_http::Code;
use serde_json::json;
use utoipa::openapi::HttpMethod;

use crate::{
    operation::{Api::Ingest, Operation},
    schema::{
        AnySchema, array, closed_object, content, host, named, object, or_null, page_path,
        page_title, visitor, whole, with_all,
    },
};

pub(crate) const TAG: &str = "visits";
const JSON: &str = "application/json";

pub(crate) fn schemas() -> Vec<(&'static str, AnySchema)> {
    vec![("Visit", visit()), ("Visits", visits()), ("AcceptedVisits", accepted_visits())]
}

pub(crate) fn operations() -> Vec<Operation> {
    vec![post_visits()]
}

fn post_visits() -> Operation {
    let example =
        json!({"host": "example.org", "path": "/news", "title": "News", "visitor": "tab-7"});
    Operation::new(
        Ingest,
        HttpMethod::Post,
        "/v1/visits",
        "post_visits",
        "Say that visitors are on pages",
    )
    .tag(TAG)
    .says(format!(
        "A heartbeat, or 1 to {} of them, at most {} bytes: all are accepted, or none. From then on the visitor counts \
         on this page of this host, for 30 seconds unless the operator chose otherwise; whoever stays sends the next \
         one before that. However often it is sent, a visitor counts once on a page, and once on a host. Pages are told \
         apart by their path; a title that is given replaces the one known. What is wrong with an item is named with \
         its index, as in `[3].path`.",
        limits::VISITS_MAX,
        limits::BATCH_BYTES_MAX
    ))
    .body([(JSON, content(named("Visits"), example))])
    .refuses(&[Code::InvalidJson])
    .answers(202, "All are accepted.", JSON, content(named("AcceptedVisits"), json!({"accepted": 1})))
    .writes_items()
}

fn visit() -> AnySchema {
    closed_object()
        .description(Some("One visitor on one page of one host."))
        .property("host", host())
        .property("path", page_path())
        .property("title", or_null(page_title()))
        .property("visitor", visitor().description(Some("Whatever tells visitors apart.")))
        .required("host")
        .required("path")
        .required("visitor")
        .into()
}

fn visits() -> AnySchema {
    utoipa::openapi::schema::OneOfBuilder::new()
        .item(named("Visit"))
        .item(array(named("Visit"), 1, limits::VISITS_MAX))
        .into()
}

fn accepted_visits() -> AnySchema {
    with_all(object(), [("accepted", whole(1, limits::VISITS_MAX))]).into()
}
