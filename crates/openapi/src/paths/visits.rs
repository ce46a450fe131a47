//! Visits: presence of visitors on pages.

use mayfly_core::limits;
use mayfly_http::Code;
use serde_json::json;
use utoipa::openapi::HttpMethod;

use crate::{
    operation::{Api::Ingest, Operation},
    schema::{
        AnySchema, array, closed_object, content, host, integer, nullable, object, page_path,
        page_title, schema_ref, string, visitor, with_required,
    },
};

pub(crate) const TAG: &str = "visits";
const JSON: &str = "application/json";
const BEACON: &str = "text/plain";

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
        "Report visitors on pages",
    )
    .tag(TAG)
    .description(format!(
        "Accepts one heartbeat or an array of 1 to {} heartbeats in at most {} bytes. Accepts all of them or \
         none. A web page can send heartbeats as `text/plain` with `navigator.sendBeacon`, even to another origin \
         if the origin of the page is allowed; `sendBeacon` cannot send credentials. Other clients send JSON. A heartbeat counts the visitor on the page \
         for `MAYFLY_VISITS__TTL` (30 seconds by default). While the visitor stays on the page, send the next \
         heartbeat before this time ends. A visitor counts once per page and once \
         per host, regardless of the number of heartbeats. Pages are identified by their path; a title replaces \
         the stored title. The first client that visits a host owns the host while the client keeps visiting it. \
         One client can own at most `MAYFLY_VISITS__HOSTS_PER_CLIENT_MAX` (100 by default) hosts; its visits to \
         further hosts without an owner are rejected with 429. \
         Errors name the index of the item, as in `[3].path`.",
        limits::VISITS_MAX,
        limits::BATCH_BYTES_MAX
    ))
    .required_body([
        (JSON, content(schema_ref("Visits"), example.clone())),
        (BEACON, content(string(), example.to_string())),
    ])
    .problems(&[Code::InvalidJson])
    .response(202, "All items are accepted.", JSON, content(schema_ref("AcceptedVisits"), json!({"accepted": 1})))
    .accepts_items()
}

fn visit() -> AnySchema {
    closed_object()
        .description(Some("A visitor on a page of a host."))
        .property("host", host())
        .property("path", page_path())
        .property("title", nullable(page_title()))
        .property(
            "visitor",
            visitor().description(Some("An ID that identifies the visitor on the site.")),
        )
        .required("host")
        .required("path")
        .required("visitor")
        .into()
}

fn visits() -> AnySchema {
    utoipa::openapi::schema::OneOfBuilder::new()
        .item(schema_ref("Visit"))
        .item(array(schema_ref("Visit"), 1, limits::VISITS_MAX))
        .into()
}

fn accepted_visits() -> AnySchema {
    with_required(object(), [("accepted", integer(1, limits::VISITS_MAX))]).into()
}
