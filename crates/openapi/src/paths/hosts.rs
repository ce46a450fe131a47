//! Hosts: visitors per page, trending pages, and history.

use mayfly_core::{Window, limits};
use mayfly_http::Code;
use serde_json::json;
use utoipa::openapi::HttpMethod;

use crate::{
    operation::{Api::List, Operation},
    schema::{content, format, host, one_of, page_path, schema_ref},
};

pub(crate) const TAG: &str = "hosts";
const JSON: &str = "application/json";

pub(crate) fn operations() -> Vec<Operation> {
    vec![list_pages(), list_rising(), get_history()]
}

fn list_pages() -> Operation {
    let path = "/v1/hosts/{host}/pages";
    let example = json!({
        "host": "example.org",
        "sampled_at": "2026-11-20T19:07:00.123Z",
        "visitors": 57,
        "exact": true,
        "pages": [
            {"path": "/news/1", "title": "Mayflies hatch", "visitors": 42},
            {"path": "/", "title": null, "visitors": 15},
        ],
    });
    Operation::new(List, HttpMethod::Get, path, "list_pages", "List the visitor counts of a host's pages")
        .tag(TAG)
        .description(
            "Returns the number of visitors to a host, and its top pages. With `MAYFLY_RISING__SOURCE=visits`, the \
             counts are at most one second old, and a host without visitors has 0 visitors and no pages. With \
             `chartbeat`, the counts come from the last sample; a host that has never been sampled returns 404. \
             Remains available while Postgres is unavailable.",
        )
        .host_parameter()
        .response(200, "The visitors to the host.", JSON, content(schema_ref("HostPages"), example))
        .problems(&[Code::NotFound])
        .store_problems()
}

fn list_rising() -> Operation {
    let path = "/v1/hosts/{host}/rising";
    let example = json!({
        "host": "example.org",
        "sampled_at": "2026-11-20T19:07:00.123Z",
        "compared_to": "2026-11-20T19:01:58.120Z",
        "window": "5m",
        "pages": [
            {"path": "/news/1", "title": "Mayflies hatch", "visitors": 150, "change": 100, "rate": 2.0, "score": 11.38},
            {"path": "/new", "title": null, "visitors": 3, "change": null, "rate": null, "score": null},
        ],
    });
    let window =
        one_of(Window::ALL.map(Window::as_str)).default(Some(Window::FiveSeconds.as_str().into()));
    Operation::new(List, HttpMethod::Get, path, "list_rising", "List the trending pages of a host")
        .tag(TAG)
        .description(
            "Returns the top pages of the newest sample, taken at `sampled_at`, with the strongest trend first. Pages \
             are compared with the previous sample (`5s`), or with the newest sample whose age is between one and two \
             times `window`. If there is no such sample, `change` is null. For a host without samples, `pages` is \
             empty with `MAYFLY_RISING__SOURCE=visits`, and the response is 404 with `chartbeat`. While Postgres is \
             unavailable, `5s` is available and other windows return 503.",
        )
        .host_parameter()
        .optional_query("window", window, "Age of the sample that the pages are compared with.")
        .response(200, "The trending pages.", JSON, content(schema_ref("Rising"), example))
        .problems(&[Code::NotFound])
        .store_problems()
}

fn get_history() -> Operation {
    let path = "/v1/hosts/{host}/history";
    let example = json!({
        "path": "/news/1",
        "hours": [
            {"hour": "2026-11-20T18:00:00.000Z", "samples": 720, "average": 31.5, "least": 12, "most": 60, "change": null},
            {"hour": "2026-11-20T19:00:00.000Z", "samples": 84, "average": 42.25, "least": 38, "most": 51, "change": 10.75},
        ],
        "by_hour_of_day": [
            {"hour_of_day": 18, "samples": 720, "average": 31.5, "least": 12, "most": 60},
            {"hour_of_day": 19, "samples": 84, "average": 42.25, "least": 38, "most": 51},
        ],
    });
    Operation::new(List, HttpMethod::Get, path, "get_history", "Get the visitor history of a page")
        .tag(TAG)
        .description(format!(
            "Returns the number of visitors to a page by hour (UTC) and by hour of the day, computed from the samples \
             in which the page was among the top pages. Includes hours that start at or after `from` and before `to`; \
             hours without such a sample are omitted. Hourly values are kept for {} days. For an unknown page, `hours` \
             is empty.",
            limits::HOURLY_RETENTION.as_secs() / 86_400
        ))
        .host_parameter()
        .required_query("path", page_path(), "The path of the page.")
        .optional_query("from", format("date-time"), "Start (RFC 3339). Default: 7 days before `to`.")
        .optional_query(
            "to",
            format("date-time"),
            "End (RFC 3339), at most 400 days after `from`. Default: now.",
        )
        .response(200, "The history of the page.", JSON, content(schema_ref("History"), example))
        .store_problems()
}

impl Operation {
    fn host_parameter(self) -> Self {
        self.path_parameter("host", host(), "The host, case-insensitive.")
    }
}
