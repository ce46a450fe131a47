//! `/api/v1.0/increasingconcurrents`: the pages of a host that have more visitors than before.

use mayfly_core::limits;
use mayfly_http::Code;
use serde_json::json;
use utoipa::openapi::HttpMethod;

use crate::{
    header::Answered,
    hosts::{TAG, page_members},
    operation::{Api::List, Operation},
    schema::{AnySchema, array, content, count, host, named, no_control, object, with_all},
};

pub(crate) fn schemas() -> Vec<(&'static str, AnySchema)> {
    vec![("Increase", increase())]
}

pub(crate) fn operations() -> Vec<Operation> {
    vec![list_increases()]
}

fn list_increases() -> Operation {
    let path = "/api/v1.0/increasingconcurrents";
    let key = no_control().min_length(Some(1)).max_length(Some(limits::SOURCE_KEY_CHARS_MAX));
    let example =
        json!([{"path": "/news/1", "title": "Mayflies hatch", "visitors": 150, "change": 100}]);
    let list = array(named("Increase"), 0, limits::SAMPLE_PAGES_MAX);
    Operation::new(List, HttpMethod::Get, path, "list_increases", "List the pages with more visitors than before")
        .tag(TAG)
        .says(
            "Against the sample before, the greatest change first. Nothing is listed before the second sample, nor a \
             page that was not among the top pages before. A key or a host that is missing or breaks its rule, a key \
             that is not for the host, or was revoked, is 401.\n\nWith `MAYFLY_RISING__SOURCE=chartbeat`, that service \
             is asked at most once in three seconds, for all who ask meanwhile; a key that is not known is tried there, \
             and known from then on if it is accepted. Where the service refuses, this is 400 `upstream_refused`. Where \
             it fails, it is the last answer of at most 60 seconds, with `Age` and `Mayfly-Stale`, for keys that are \
             known, else 502. Goes on while Postgres is away.",
        )
        .needs("apikey", key, "A key for the host.")
        .needs("host", host(), "The host. Case does not matter.")
        .answers(200, "The pages.", "application/json", content(list, example))
        .headers(&[Answered::Age, Answered::MayflyStale])
        .refuses(&[
            Code::UpstreamRefused,
            Code::Unauthorized,
            Code::UpstreamFailed,
            Code::Overloaded,
        ])
        .reads_a_store()
}

fn increase() -> AnySchema {
    let change = count().minimum(Some(1_usize)).description(Some("How many more."));
    with_all(with_all(object(), page_members()), [("change", change)])
        .description(Some("A page with more visitors than before."))
        .into()
}
