//! `/api/v1.0/increasingconcurrents`: the pages of a host that have increasing visitor counts.

use mayfly_core::limits;
use mayfly_http::Code;
use serde_json::json;
use utoipa::openapi::HttpMethod;

use super::hosts::TAG;
use crate::{
    header::ResponseHeader,
    operation::{Api::List, Operation},
    schema::{array, content, host, no_control, schema_ref},
};

pub(crate) fn operations() -> Vec<Operation> {
    vec![list_increases()]
}

fn list_increases() -> Operation {
    let path = "/api/v1.0/increasingconcurrents";
    let key = no_control().min_length(Some(1)).max_length(Some(limits::SOURCE_KEY_CHARS_MAX));
    let example =
        json!([{"path": "/news/1", "title": "Mayflies hatch", "visitors": 150, "change": 100}]);
    let list = array(schema_ref("Increase"), 0, limits::SAMPLE_PAGES_MAX);
    Operation::new(List, HttpMethod::Get, path, "list_increases", "List the pages with increasing visitors")
        .tag(TAG)
        .description(
            "Compares the newest sample with the previous one, and returns the largest change first. The list is \
             empty before the second sample, and excludes pages that were not among the top pages of the \
             previous sample. A missing or malformed key or host, a key that does not belong to the host and a \
             revoked key return 401.\n\nWith `MAYFLY_RISING__SOURCE=chartbeat`, the source is called at most \
             once every three seconds, regardless of the number of callers. An unknown key is checked with the \
             source once, and stored if the source accepts it. If the source rejects the request, the response \
             is 400 `upstream_refused`. If the source fails, callers with a known key receive the last response \
             from the source with `Age` and `Mayfly-Stale` if it is at most 60 seconds old. Otherwise, the \
             response is 502. Remains available while Postgres is unavailable.",
        )
        .required_query("apikey", key, "An API key for the host.")
        .required_query("host", host(), "The host, case-insensitive.")
        .response(200, "The pages.", "application/json", content(list, example))
        .response_headers(&[ResponseHeader::Age, ResponseHeader::MayflyStale])
        .problems(&[
            Code::UpstreamRefused,
            Code::Unauthorized,
            Code::UpstreamFailed,
            Code::Overloaded,
        ])
        .store_problems()
}
