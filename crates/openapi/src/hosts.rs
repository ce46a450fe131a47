//! Hosts: who is on which page, what rises, and how it was before.

use mayfly_core::{PagePath, Window, limits};
use mayfly_http::Code;
use serde_json::json;
use utoipa::openapi::{HttpMethod, ObjectBuilder, Type};

use crate::{
    operation::{Api::List, Operation},
    schema::{
        AnySchema, array, boolean, content, count, format, host, instant, named, object, or_null,
        page_path, page_title, whole, with_all, words,
    },
};

pub(crate) const TAG: &str = "hosts";
const JSON: &str = "application/json";
/// Hours of one history.
const HOURS_MAX: usize = (limits::HOURS_KEPT_FOR.as_secs() / 3_600) as usize;

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
    Operation::new(List, HttpMethod::Get, path, "list_pages", "Count the visitors of a host")
        .tag(TAG)
        .says(
            "Visitors and top pages. Our own visits (`MAYFLY_RISING__SOURCE=visits`) are counted when asked, at most a \
             second ago; a host that nobody visits has 0 visitors and no pages. With `chartbeat` it is what that \
             service said last, and 404 where it never said anything. Goes on while Postgres is away.",
        )
        .of_host()
        .answers(200, "Its visitors.", JSON, content(named("HostPages"), example))
        .refuses(&[Code::NotFound])
        .reads_a_store()
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
        words(Window::ALL.map(Window::as_str)).default(Some(Window::FiveSeconds.as_str().into()));
    Operation::new(List, HttpMethod::Get, path, "list_rising", "See which pages of a host rise")
        .tag(TAG)
        .says(
            "The top pages of the newest sample, which `sampled_at` tells the age of, those that rise first. They are \
             compared to the sample before (`5s`), or to the newest that is at least as old as `window`, and not more \
             than twice as old; where there is none, nothing is known of a change. Where there is no sample at all, a \
             host has no pages with `MAYFLY_RISING__SOURCE=visits`, and is 404 with `chartbeat`. While Postgres is \
             away, `5s` goes on, and the others are 503.",
        )
        .of_host()
        .query("window", window, "How much earlier the sample is that is compared to.")
        .answers(200, "Its pages.", JSON, content(named("Rising"), example))
        .refuses(&[Code::NotFound])
        .reads_a_store()
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
    Operation::new(List, HttpMethod::Get, path, "get_history", "See how a page rose and fell")
        .tag(TAG)
        .says(format!(
            "Its visitors by the hour (UTC), over the samples in which it was among the top pages, and the same by \
             the hour of the day. Shown are hours that begin at `from` or later, and before `to`; hours without such \
             a sample are left out, in both lists. Hours are kept for {} days; a page that nobody knows has none.",
            limits::HOURS_KEPT_FOR.as_secs() / 86_400
        ))
        .of_host()
        .needs("path", page_path(), "The path of the page.")
        .query("from", format("date-time"), "From when, in RFC 3339. Left out: 7 days before `to`.")
        .query(
            "to",
            format("date-time"),
            "Until when, in RFC 3339, at most 400 days after `from`. Left out: now.",
        )
        .answers(200, "Its hours.", JSON, content(named("History"), example))
        .reads_a_store()
}

impl Operation {
    fn of_host(self) -> Self {
        self.named("host", host(), "The host. Case does not matter.")
    }
}

fn page_visitors() -> AnySchema {
    with_all(object(), page_members()).description(Some("The visitors of a page.")).into()
}

/// What is said of every page.
pub(crate) fn page_members() -> [(&'static str, ObjectBuilder); 3] {
    let title = or_null(page_title()).description(Some("What it is called, if anybody said."));
    [("path", page_path()), ("title", title), ("visitors", count())]
}

fn host_pages() -> AnySchema {
    let exact =
        "Whether every visitor was counted; else it was one in 2, in 4 and so on, always the same.";
    let members = [
        ("host", host()),
        ("sampled_at", instant()),
        ("visitors", count().description(Some("Of the host, of all its pages."))),
        ("exact", boolean().description(Some(exact))),
    ];
    let pages = array(named("PageVisitors"), 0, limits::SAMPLE_PAGES_MAX);
    with_all(object(), members)
        .property("pages", pages.description(Some("The top pages, most visitors first.")))
        .required("pages")
        .into()
}

fn rising_page() -> AnySchema {
    let change = "How many more, or fewer. Null where the page was not among the top pages then.";
    let rate = "The change relative to what was there. Null also where nobody was.";
    let score = "How unusual its visitors are, about in standard deviations: the signed root of the Poisson deviance \
                 from what is usual for this page at this hour of the day, or else from what was there, of at least \
                 one. Null where there is no change.";
    let change = ObjectBuilder::new().schema_type(Type::Integer).description(Some(change));
    let members = [
        ("change", or_null(change)),
        ("rate", or_null(number().description(Some(rate)))),
        ("score", or_null(number().description(Some(score)))),
    ];
    with_all(with_all(object(), page_members()), members)
        .description(Some("How a page changed."))
        .into()
}

fn rising() -> AnySchema {
    let compared_to =
        "When the sample was taken that is compared to. Null where none is old enough.";
    let members = [
        ("host", host()),
        ("sampled_at", instant()),
        ("compared_to", or_null(instant()).description(Some(compared_to))),
        ("window", words(Window::ALL.map(Window::as_str))),
    ];
    let pages = array(named("RisingPage"), 0, limits::SAMPLE_PAGES_MAX);
    let order = "The highest score first, then the greatest change, then most visitors.";
    with_all(object(), members)
        .property("pages", pages.description(Some(order)))
        .required("pages")
        .into()
}

fn history() -> AnySchema {
    let measures = || {
        let average = number().minimum(Some(0_usize)).description(Some("In hundredths."));
        let samples = count().description(Some("Samples that the page was in."));
        [("samples", samples), ("average", average), ("least", count()), ("most", count())]
    };
    let change = "The average less that of the hour exactly before; null where that is not known.";
    let change = or_null(number().description(Some(change)));
    let hour = with_all(object(), [("hour", instant().description(Some("When it began.")))]);
    let hour = with_all(with_all(hour, measures()), [("change", change)]);
    let of_day = with_all(object(), [("hour_of_day", whole(0, 23))]);
    let of_day = with_all(of_day, measures());
    with_all(object(), [("path", page_path())])
        .property("hours", array(hour, 0, HOURS_MAX).description(Some("The oldest first.")))
        .required("hours")
        .property(
            "by_hour_of_day",
            array(of_day, 0, 24).description(Some("Over all days shown; from 0 on.")),
        )
        .required("by_hour_of_day")
        .description(Some(format!("The hours of a page. Its path {}.", PagePath::RULE)))
        .into()
}

fn number() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Number)
}
