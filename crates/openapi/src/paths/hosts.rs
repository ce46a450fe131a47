//! Hosts: visitors per page, trending pages, and history.

use mayfly_core::{PagePath, Window, limits};
use mayfly_http::Code;
use serde_json::json;
use utoipa::openapi::{HttpMethod, ObjectBuilder, Type};

use crate::{
    operation::{Api::List, Operation},
    schema::{
        AnySchema, array, boolean, content, count, format, host, instant, integer, nullable,
        object, one_of, page_path, page_title, schema_ref, with_required,
    },
};

pub(crate) const TAG: &str = "hosts";
const JSON: &str = "application/json";
/// Hours in one history.
const HOURS_MAX: usize = (limits::HOURLY_RETENTION.as_secs() / 3_600) as usize;

pub(crate) fn schemas() -> Vec<(&'static str, AnySchema)> {
    vec![
        ("PageVisitors", page_visitors()),
        ("HostPages", host_pages()),
        ("RisingPage", rising_page()),
        ("Rising", rising()),
        ("History", history()),
    ]
}

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
    Operation::new(List, HttpMethod::Get, path, "list_pages", "List the visitors per page of a host")
        .tag(TAG)
        .description(
            "Returns the visitors and the top pages of a host. With `MAYFLY_RISING__SOURCE=visits`, the counts are at \
             most one second old, and a host without visitors has 0 visitors and no pages. With `chartbeat`, the \
             counts are those of the last sample; a host that was never sampled returns 404. Available while \
             Postgres is unavailable.",
        )
        .host_parameter()
        .response(200, "The visitors of the host.", JSON, content(schema_ref("HostPages"), example))
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
             times `window`. Without such a sample, `change` is null. A host without samples has no pages with \
             `MAYFLY_RISING__SOURCE=visits`, and returns 404 with `chartbeat`. While Postgres is unavailable, `5s` is \
             available and other windows return 503.",
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
            "Returns the visitors of a page per hour (UTC) and per hour of the day, computed from the samples in \
             which it was among the top pages. Includes hours that start at or after `from` and before `to`; hours \
             without such a sample are omitted. Hourly values are kept for {} days. An unknown page has no hours.",
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

fn page_visitors() -> AnySchema {
    with_required(object(), page_members()).description(Some("The visitors of a page.")).into()
}

/// Returns the members that every page has.
pub(crate) fn page_members() -> [(&'static str, ObjectBuilder); 3] {
    let title = nullable(page_title()).description(Some("The title, if known."));
    [("path", page_path()), ("title", title), ("visitors", count())]
}

fn host_pages() -> AnySchema {
    let exact = "Whether all visitors are counted; otherwise a fixed sample of 1/2, 1/4, … of them is counted and extrapolated.";
    let members = [
        ("host", host()),
        ("sampled_at", instant()),
        ("visitors", count().description(Some("Visitors of all pages of the host."))),
        ("exact", boolean().description(Some(exact))),
    ];
    let pages = array(schema_ref("PageVisitors"), 0, limits::SAMPLE_PAGES_MAX);
    with_required(object(), members)
        .property(
            "pages",
            pages.description(Some("The top pages, those with the most visitors first.")),
        )
        .required("pages")
        .into()
}

fn rising_page() -> AnySchema {
    let change = "Change in the number of visitors. Null if the page was not among the top pages of the earlier sample.";
    let rate = "The change relative to the earlier value. Also null if that value is 0.";
    let score = "How unusual the number of visitors is, in approximate standard deviations: the signed square root of the \
                 Poisson deviance from the usual value of this page at this hour of the day, or else from the earlier \
                 value (at least 1). Null if `change` is null.";
    let change = ObjectBuilder::new().schema_type(Type::Integer).description(Some(change));
    let members = [
        ("change", nullable(change)),
        ("rate", nullable(number().description(Some(rate)))),
        ("score", nullable(number().description(Some(score)))),
    ];
    with_required(with_required(object(), page_members()), members)
        .description(Some("The trend of a page."))
        .into()
}

fn rising() -> AnySchema {
    let compared_to = "Time of the earlier sample; null if no sample is old enough.";
    let members = [
        ("host", host()),
        ("sampled_at", instant()),
        ("compared_to", nullable(instant()).description(Some(compared_to))),
        ("window", one_of(Window::ALL.map(Window::as_str))),
    ];
    let pages = array(schema_ref("RisingPage"), 0, limits::SAMPLE_PAGES_MAX);
    let order = "Sorted by score, then change, then visitors, each in descending order.";
    with_required(object(), members)
        .property("pages", pages.description(Some(order)))
        .required("pages")
        .into()
}

fn history() -> AnySchema {
    let measures = || {
        let average = number()
            .minimum(Some(0_usize))
            .description(Some("Average number of visitors, rounded to hundredths."));
        let samples = count().description(Some("Number of samples that contain the page."));
        [("samples", samples), ("average", average), ("least", count()), ("most", count())]
    };
    let change = "Difference from the average of the preceding hour; null if that is unknown.";
    let change = nullable(number().description(Some(change)));
    let hour =
        with_required(object(), [("hour", instant().description(Some("Start of the hour.")))]);
    let hour = with_required(with_required(hour, measures()), [("change", change)]);
    let of_day = with_required(object(), [("hour_of_day", integer(0, 23))]);
    let of_day = with_required(of_day, measures());
    with_required(object(), [("path", page_path())])
        .property("hours", array(hour, 0, HOURS_MAX).description(Some("In chronological order.")))
        .required("hours")
        .property(
            "by_hour_of_day",
            array(of_day, 0, 24).description(Some("Over all included days, ordered from hour 0.")),
        )
        .required("by_hour_of_day")
        .description(Some(format!("The visitor history of a page. Its path {}.", PagePath::RULE)))
        .into()
}

fn number() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Number)
}
