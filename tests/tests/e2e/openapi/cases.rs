//! Every answer that the document names, and how to get it.

use mayfly_core::limits;
use serde_json::{Value, json};

use super::{
    recorder::{
        Case,
        Place::{
            self, CutOff, Elsewhere, Impatient, Limited, Plain, SmallInbox, SmallQueue, Spoilt,
            Summed, SwitchedOff,
        },
    },
    request::Request,
};

const FORM: &str = "application/x-www-form-urlencoded";
const FOUR: &str = "username=fred&city=New+York&state=NY&message=";
/// An id that nobody has.
const NOBODY: &str = "019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47";

/// Where two requests of one kind differ: in what they say, and in whose inbox it goes.
type Make = fn(&str) -> Request;

/// How an operation that writes messages takes its body.
#[derive(PartialEq, Eq)]
enum Body {
    Json,
    Form,
    /// A form, which stands in the query.
    Query,
    None,
}

/// Every operation that writes messages, its status, how it is asked, and whether an inbox may refuse it.
fn writers() -> Vec<(u16, Body, bool, Make)> {
    vec![
        (202, Body::Json, true, |text| {
            Request::of("post_message").json(&json!({"username": text, "text": text}))
        }),
        (202, Body::Json, true, |text| {
            Request::of("post_messages").json(&json!([{"username": text, "text": text}]))
        }),
        (202, Body::Json, true, |text| {
            let line = json!({"username": text, "text": text});
            Request::of("post_messages").body("application/x-ndjson", format!("{line}\n"))
        }),
        (202, Body::Json, false, |text| Request::of("post_dummy").json(&json!([text]))),
        (202, Body::Json, false, |text| Request::of("post_plays").json(&json!({"video_id": text}))),
        (202, Body::Json, false, |text| {
            Request::of("post_plays").json(&json!([{"video_id": text, "play_id": null}]))
        }),
        (202, Body::Json, false, |text| Request::of("post_visits").json(&visit(text))),
        (202, Body::Json, false, |text| Request::of("post_visits").json(&json!([visit(text)]))),
        (201, Body::Json, true, |text| Request::of("post_chat").json(&chat(text))),
        (201, Body::Json, true, |text| Request::of("post_chat_with_slash").json(&chat(text))),
        (202, Body::None, true, |text| write_by_query("get_write", text)),
        (202, Body::None, true, |text| write_by_query("get_write_without_slash", text)),
        (202, Body::Form, true, |text| write_by_form("post_write", text)),
        (202, Body::Form, true, |text| write_by_form("post_write_without_slash", text)),
        (202, Body::Query, true, |text| write_by_query("post_write", text)),
        (202, Body::Query, true, |text| write_by_query("post_write_without_slash", text)),
    ]
}

fn chat(text: &str) -> Value {
    json!({"username": text, "text": text})
}

/// All on one host: where it has room for one page, the next is refused.
fn visit(text: &str) -> Value {
    json!({"host": "openapi.test", "path": format!("/{text}"), "title": null, "visitor": text})
}

fn write_by_query(operation: &str, text: &str) -> Request {
    Request::of(operation).query(&format!("{FOUR}{text}").replace("fred", text))
}

fn write_by_form(operation: &str, text: &str) -> Request {
    Request::of(operation).body(FORM, format!("{FOUR}{text}").replace("fred", text))
}

fn case(place: Place, request: Request, status: u16, code: &'static str) -> Case {
    Case { place, before: Vec::new(), request, status, code }
}

fn after(place: Place, before: Request, request: Request, status: u16, code: &'static str) -> Case {
    Case { before: vec![before], ..case(place, request, status, code) }
}

/// What everything refuses.
fn common(request: &Request) -> [Case; 2] {
    let unknown = request.clone().query("colour=red");
    [version_2(request), case(Plain, unknown, 400, "invalid_field")]
}

fn version_2(request: &Request) -> Case {
    let other = request.clone().header("accept", "application/json; version=2");
    case(Plain, other, 406, "not_acceptable")
}

/// Everything that writes messages.
pub fn of_writers() -> Vec<Case> {
    let all = writers().into_iter().enumerate();
    all.flat_map(|(n, (status, body, has_inbox, make))| {
        let (one, other) = (format!("openapi-{n}"), format!("openapi-{n}-other"));
        let (request, another) = (make(&one), make(&other));
        let key = |request: &Request| request.clone().header("idempotency-key", &one);
        let limited = |request: &Request| {
            request.clone().header("x-forwarded-for", &format!("198.51.100.{n}"))
        };
        let mut cases = common(&request).to_vec();
        cases.extend([
            case(Plain, request.clone(), status, ""),
            after(Plain, key(&request), key(&request), status, ""),
            after(Plain, key(&request), key(&another), 422, "idempotency_key_reused"),
            after(Limited, limited(&request), limited(&another), 429, "rate_limited"),
            after(SmallQueue, request.clone(), another, 503, "overloaded"),
            case(CutOff, request.clone(), 503, "unavailable"),
        ]);
        if has_inbox {
            cases.push(after(SmallInbox, request.clone(), request.clone(), 409, "inbox_full"));
        }
        if body == Body::None {
            cases.push(case(SwitchedOff, request.clone(), 405, "method_not_allowed"));
            return cases;
        }
        if body == Body::Json {
            let broken = request.clone().body("application/json", "{");
            cases.push(case(Plain, broken, 400, "invalid_json"));
        }
        if body == Body::Query {
            let part = Request::of(&request.operation).query("username=fred&message=alone");
            cases.extend([
                case(Plain, part, 400, "invalid_field"),
                case(Plain, request.without_body(), status, ""),
            ]);
            return cases;
        }
        let kind = if body == Body::Form { FORM } else { "application/json" };
        let most = if ["post_messages", "post_plays", "post_visits"].contains(&&*request.operation)
        {
            limits::BATCH_BYTES_MAX
        } else {
            limits::MESSAGE_BYTES_MAX
        };
        let too_large = request.clone().body(kind, vec![b' '; most + 1]);
        cases.extend([
            case(Plain, too_large, 413, "body_too_large"),
            case(Plain, request.clone().without("content-type"), 415, "unsupported_media_type"),
            case(Impatient, request.without_body(), 408, "request_timeout"),
        ]);
        cases
    })
    .collect()
}

/// Everything that gives messages out; `id` is that of one.
pub fn of_readers(id: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for operation in ["get_message", "get_chat", "delete_message"] {
        let status = if operation == "delete_message" { 204 } else { 200 };
        let there = Request::of(operation).name(id);
        let missing = Request::of(operation).name(NOBODY);
        cases.extend(common(&there));
        cases.extend([
            case(Plain, there.clone(), status, ""),
            case(Plain, missing.clone(), 404, "not_found"),
            case(Plain, Request::of(operation).name("no id"), 404, "not_found"),
            case(Spoilt, missing, 500, "internal"),
            case(CutOff, there, 503, "unavailable"),
        ]);
    }
    for operation in ["list_inbox", "take_inbox", "get_chats"] {
        let request = Request::of(operation).name("fred");
        cases.extend(common(&request));
        cases.extend([
            case(Plain, Request::of(operation).name("a\n"), 400, "invalid_field"),
            case(Plain, request.clone(), 200, ""),
            case(Plain, Request::of(operation).name("openapi-nobody"), 200, ""),
            case(Spoilt, request.clone(), 500, "internal"),
            case(CutOff, request, 503, "unavailable"),
        ]);
    }
    let take = |inbox: &str, limit: &str| {
        Request::of("take_inbox").name(inbox).query(limit).header("idempotency-key", inbox)
    };
    let taken = |inbox: &str| {
        let message = Request::of("post_chat").json(&chat(inbox));
        vec![message, take(inbox, "limit=1")]
    };
    let (again, reused) = ("openapi-again", "openapi-reused");
    let chats = Request::of("get_chats").name("fred");
    let walk = |query: &str| Request::of("list_messages").query(query);
    cases.extend(common(&walk("limit=1")));
    cases.extend([
        Case { before: taken(again), ..case(Plain, take(again, "limit=1"), 200, "") },
        Case {
            before: taken(reused),
            ..case(Plain, take(reused, "limit=2"), 422, "idempotency_key_reused")
        },
        case(SwitchedOff, chats, 405, "method_not_allowed"),
        case(Plain, walk("limit=1"), 200, ""),
        case(Plain, walk("limit=1000&order=desc&channel=none"), 200, ""),
        case(Plain, walk("limit=0"), 400, "invalid_field"),
        case(Plain, walk("cursor=x"), 400, "invalid_cursor"),
        case(Spoilt, walk(""), 500, "internal"),
        case(CutOff, walk(""), 503, "unavailable"),
    ]);
    cases
}

/// Counts of plays, of which `video` has one, and the pulse.
pub fn of_counts(video: &str) -> Vec<Case> {
    let one = Request::of("get_plays").name(video);
    let list = |query: &str| Request::of("list_plays").query(query);
    let pulse = Request::of("get_pulse");
    let mut cases = Vec::new();
    for request in [&one, &list("limit=1"), &pulse] {
        cases.extend(common(request));
        cases.extend([
            case(Spoilt, request.clone(), 500, "internal"),
            case(CutOff, request.clone(), 503, "unavailable"),
        ]);
    }
    cases.extend([
        case(Plain, one, 200, ""),
        case(Plain, Request::of("get_plays").name("openapi-never-played"), 404, "not_found"),
        case(Plain, Request::of("get_plays").name(&"v".repeat(129)), 400, "invalid_field"),
        case(Plain, list("limit=1"), 200, ""),
        case(Plain, list("limit=1000&cursor=1p0-76"), 200, ""),
        case(Plain, list("limit=1001"), 400, "invalid_field"),
        case(Plain, list("cursor=1a2f"), 400, "invalid_cursor"),
        case(Summed, pulse.clone(), 200, ""),
        case(Plain, pulse, 503, "unavailable"),
    ]);
    cases
}

/// Hosts and their pages.
pub fn of_hosts() -> Vec<Case> {
    let pages = Request::of("list_pages").name("fred");
    let rising = Request::of("list_rising").name("fred");
    let history = Request::of("get_history").name("fred").query("path=/");
    let increases = |query: &str| Request::of("list_increases").query(query);
    let ours = increases("apikey=good&host=fred");
    let mut cases = Vec::new();
    for request in [&pages, &rising, &history, &ours] {
        cases.extend(common(request));
        cases.extend([
            case(Spoilt, request.clone(), 500, "internal"),
            case(CutOff, request.clone(), 503, "unavailable"),
        ]);
    }
    cases.extend([
        case(Plain, pages.clone(), 200, ""),
        case(Plain, pages.clone().name("a b"), 400, "invalid_field"),
        case(Elsewhere, pages.clone(), 200, ""),
        case(Elsewhere, pages.name("unseen"), 404, "not_found"),
        case(Plain, rising.clone().query("window=24h"), 200, ""),
        case(Plain, rising.clone().query("window=2m"), 400, "invalid_field"),
        case(Elsewhere, rising.clone(), 200, ""),
        case(Elsewhere, rising.name("unseen"), 404, "not_found"),
        case(Plain, history.clone(), 200, ""),
        case(
            Plain,
            history.clone().query("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00%2B01:00"),
            400,
            "invalid_field",
        ),
        case(Plain, Request::of("get_history").name("fred"), 400, "invalid_field"),
        case(Summed, ours.clone(), 200, ""),
        case(Summed, increases(""), 401, "unauthorized"),
        case(Summed, increases("apikey=other&host=fred"), 401, "unauthorized"),
        case(Elsewhere, ours, 200, ""),
        case(Elsewhere, increases("apikey=refused&host=fred"), 400, "upstream_refused"),
        case(Elsewhere, increases("apikey=unheard&host=silent"), 502, "upstream_failed"),
        case(Elsewhere, increases("apikey=one-more&host=crowded"), 503, "overloaded"),
    ]);
    cases
}

/// The way to the statistics.
pub fn of_stats() -> Vec<Case> {
    let all = ["get_stats", "get_stat", "get_stat_without_slash"].into_iter();
    all.flat_map(|operation| {
        let request = Request::of(operation);
        let mut cases = common(&request).to_vec();
        cases.extend([
            case(Summed, request.clone(), 302, ""),
            case(Plain, request.clone(), 503, "unavailable"),
            case(CutOff, request.clone(), 503, "unavailable"),
            case(Spoilt, request, 500, "internal"),
        ]);
        cases
    })
    .collect()
}

/// The services themselves, each of them.
pub fn of_services() -> Vec<Case> {
    let (health, document) = (Request::of("get_health"), Request::of("get_openapi"));
    let (page, home) = (Request::of("get_docs"), Request::of("get_home"));
    let mut cases = Vec::new();
    for request in [&health, &document] {
        cases.extend(common(request));
    }
    cases.extend([version_2(&page), version_2(&home)]);
    for request in [&document, &page] {
        let known = request.clone().header("if-none-match", "\"x\", *");
        cases.push(case(Plain, known, 304, ""));
    }
    cases.extend([
        case(Plain, health, 200, ""),
        case(Plain, document.clone(), 200, ""),
        case(CutOff, document, 200, ""),
        case(Plain, page.clone().query("from=a+bookmark"), 200, ""),
        case(Plain, home.clone().header("accept", "text/html,*/*;q=0.8"), 302, ""),
        case(Plain, home, 404, "not_found"),
    ]);
    let of_both = cases.into_iter().flat_map(|case| {
        let other = Case { request: case.request.clone().at_server(1), ..case.clone() };
        [case, other]
    });
    of_both.collect()
}
