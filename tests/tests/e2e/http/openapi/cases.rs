//! A case for every documented response.

use mayfly_core::limits;
use serde_json::{Value, json};

use super::{
    recorder::{
        Case,
        Target::{
            self, Corrupt, NoStores, Plain, RateLimited, RoutesDisabled, ShortBodyTimeout,
            SmallInbox, SmallQueue, WithChartbeat, WithStatistics,
        },
    },
    request::Request,
};

const FORM: &str = "application/x-www-form-urlencoded";
const FORM_FIELDS: &str = "username=fred&city=New+York&state=NY&message=";
/// An unknown message ID.
const UNKNOWN_ID: &str = "019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47";

/// Builds a request with this text, which is also the username.
type BuildRequest = fn(&str) -> Request;

/// How a write operation receives its parameters.
#[derive(PartialEq, Eq)]
enum Body {
    Json,
    Form,
    /// A POST without a body and with the form in the query.
    Query,
    None,
}

/// Returns all write operations: status, body, whether a full inbox rejects them, and request
/// builder.
fn writers() -> Vec<(u16, Body, bool, BuildRequest)> {
    vec![
        (202, Body::Json, true, |text| {
            Request::new("post_message").json(&json!({"username": text, "text": text}))
        }),
        (202, Body::Json, true, |text| {
            Request::new("post_messages").json(&json!([{"username": text, "text": text}]))
        }),
        (202, Body::Json, true, |text| {
            let line = json!({"username": text, "text": text});
            Request::new("post_messages").body("application/x-ndjson", format!("{line}\n"))
        }),
        (202, Body::Json, false, |text| Request::new("post_dummy").json(&json!([text]))),
        (202, Body::Json, false, |text| {
            Request::new("post_plays").json(&json!({"video_id": text}))
        }),
        (202, Body::Json, false, |text| {
            Request::new("post_plays").json(&json!([{"video_id": text, "play_id": null}]))
        }),
        (202, Body::Json, false, |text| Request::new("post_visits").json(&visit(text))),
        (202, Body::Json, false, |text| Request::new("post_visits").json(&json!([visit(text)]))),
        (201, Body::Json, true, |text| Request::new("post_chat").json(&chat(text))),
        (201, Body::Json, true, |text| Request::new("post_chat_with_slash").json(&chat(text))),
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

/// Returns a visit. All visits have the same host, so that a limit of one page per host rejects the
/// second visit.
fn visit(text: &str) -> Value {
    json!({"host": "openapi.test", "path": format!("/{text}"), "title": null, "visitor": text})
}

fn write_by_query(operation: &str, text: &str) -> Request {
    Request::new(operation).query(&format!("{FORM_FIELDS}{text}").replace("fred", text))
}

fn write_by_form(operation: &str, text: &str) -> Request {
    Request::new(operation).body(FORM, format!("{FORM_FIELDS}{text}").replace("fred", text))
}

fn case(target: Target, request: Request, status: u16, code: &'static str) -> Case {
    Case { target, before: Vec::new(), request, status, code }
}

fn after(
    target: Target,
    before: Request,
    request: Request,
    status: u16,
    code: &'static str,
) -> Case {
    Case { before: vec![before], ..case(target, request, status, code) }
}

/// Returns the rejections that all operations share.
fn common(request: &Request) -> [Case; 2] {
    let unknown = request.clone().query("colour=red");
    [version_2(request), case(Plain, unknown, 400, "invalid_field")]
}

fn version_2(request: &Request) -> Case {
    let other = request.clone().header("accept", "application/json; version=2");
    case(Plain, other, 406, "not_acceptable")
}

/// Returns the rejection of a request that a page of another site caused.
fn cross_origin(request: &Request) -> Case {
    case(Plain, request.clone().header("origin", "http://evil.example"), 403, "forbidden")
}

/// Returns the cases of write operations.
pub fn for_writers() -> Vec<Case> {
    let all = writers().into_iter().enumerate();
    all.flat_map(|(n, (status, body, has_inbox, build))| {
        let (one, other) = (format!("openapi-{n}"), format!("openapi-{n}-other"));
        let (request, another) = (build(&one), build(&other));
        let key = |request: &Request| request.clone().header("idempotency-key", &one);
        // Each request has a different visitor, because a visitor counts once per second.
        let limited = |text: &str| {
            let request = build(&format!("openapi-{n}-{text}"));
            request.header("x-forwarded-for", &format!("198.51.100.{n}"))
        };
        let mut cases = common(&request).to_vec();
        cases.extend([
            case(Plain, request.clone(), status, ""),
            after(Plain, key(&request), key(&request), status, ""),
            after(Plain, key(&request), key(&another), 422, "idempotency_key_reused"),
            after(RateLimited, limited("first"), limited("second"), 429, "rate_limited"),
            after(SmallQueue, request.clone(), another, 503, "overloaded"),
            case(NoStores, request.clone(), 503, "unavailable"),
            cross_origin(&request),
        ]);
        if has_inbox {
            cases.push(after(SmallInbox, request.clone(), request.clone(), 409, "inbox_full"));
        }
        if body == Body::None {
            cases.push(case(RoutesDisabled, request.clone(), 405, "method_not_allowed"));
            return cases;
        }
        if body == Body::Json {
            let broken = request.clone().body("application/json", "{");
            cases.push(case(Plain, broken, 400, "invalid_json"));
        }
        if body == Body::Query {
            let part = Request::new(&request.operation).query("username=fred&message=alone");
            cases.extend([
                case(Plain, part, 400, "invalid_field"),
                case(Plain, request.without_body(), status, ""),
            ]);
            return cases;
        }
        let kind = if body == Body::Form { FORM } else { "application/json" };
        let max_bytes =
            if ["post_messages", "post_plays", "post_visits"].contains(&&*request.operation) {
                limits::BATCH_BYTES_MAX
            } else {
                limits::MESSAGE_BYTES_MAX
            };
        let too_large = request.clone().body(kind, vec![b' '; max_bytes + 1]);
        cases.extend([
            case(Plain, too_large, 413, "body_too_large"),
            case(Plain, request.clone().without("content-type"), 415, "unsupported_media_type"),
            case(ShortBodyTimeout, request.without_body(), 408, "request_timeout"),
        ]);
        cases
    })
    .collect()
}

/// Returns the cases of operations that read messages; `id` is a stored message.
pub fn for_readers(id: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for operation in ["get_message", "get_chat", "delete_message"] {
        let status = if operation == "delete_message" { 204 } else { 200 };
        let found = Request::new(operation).name(id);
        let missing = Request::new(operation).name(UNKNOWN_ID);
        cases.extend(common(&found));
        cases.extend([
            case(Plain, found.clone(), status, ""),
            case(Plain, missing.clone(), 404, "not_found"),
            case(Plain, Request::new(operation).name("no id"), 404, "not_found"),
            case(Corrupt, missing, 500, "internal"),
            case(NoStores, found, 503, "unavailable"),
        ]);
    }
    for operation in ["list_inbox", "take_inbox", "get_chats"] {
        let request = Request::new(operation).name("fred");
        cases.extend(common(&request));
        cases.extend([
            case(Plain, Request::new(operation).name("a\n"), 400, "invalid_field"),
            case(Plain, request.clone(), 200, ""),
            case(Plain, Request::new(operation).name("openapi-nobody"), 200, ""),
            case(Corrupt, request.clone(), 500, "internal"),
            case(NoStores, request, 503, "unavailable"),
        ]);
    }
    cases.extend([
        cross_origin(&Request::new("delete_message").name(id)),
        cross_origin(&Request::new("take_inbox").name("fred")),
        cross_origin(&Request::new("get_chats").name("fred")),
    ]);
    let take = |inbox: &str, limit: &str| {
        Request::new("take_inbox").name(inbox).query(limit).header("idempotency-key", inbox)
    };
    let preceding_take = |inbox: &str| {
        let message = Request::new("post_chat").json(&chat(inbox));
        vec![message, take(inbox, "limit=1")]
    };
    let (again, reused) = ("openapi-again", "openapi-reused");
    let chats = Request::new("get_chats").name("fred");
    let list = |query: &str| Request::new("list_messages").query(query);
    cases.extend(common(&list("limit=1")));
    cases.extend([
        Case { before: preceding_take(again), ..case(Plain, take(again, "limit=1"), 200, "") },
        Case {
            before: preceding_take(reused),
            ..case(Plain, take(reused, "limit=2"), 422, "idempotency_key_reused")
        },
        case(RoutesDisabled, chats, 405, "method_not_allowed"),
        case(Plain, list("limit=1"), 200, ""),
        case(Plain, list("limit=1000&order=desc&channel=none"), 200, ""),
        case(Plain, list("limit=0"), 400, "invalid_field"),
        case(Plain, list("cursor=x"), 400, "invalid_cursor"),
        // A missing column indicates another version of the schema.
        case(Corrupt, list(""), 503, "unavailable"),
        case(NoStores, list(""), 503, "unavailable"),
    ]);
    cases
}

/// Returns the cases of play counts and the pulse; `video` has one play.
pub fn for_counts(video: &str) -> Vec<Case> {
    let one = Request::new("get_plays").name(video);
    let list = |query: &str| Request::new("list_plays").query(query);
    let pulse = Request::new("get_pulse");
    let mut cases = Vec::new();
    // State with the wrong type counts as missing until it is published again. Without the counts in
    // Redis, a list is read from Postgres, where a table is missing.
    let (internal, missing) = ((500, "internal"), (503, "unavailable"));
    for (request, (status, code)) in
        [(&one, internal), (&list("limit=1"), missing), (&pulse, missing)]
    {
        cases.extend(common(request));
        cases.extend([
            case(Corrupt, request.clone(), status, code),
            case(NoStores, request.clone(), 503, "unavailable"),
        ]);
    }
    cases.extend([
        case(Plain, one, 200, ""),
        case(Plain, Request::new("get_plays").name("openapi-never-played"), 404, "not_found"),
        case(Plain, Request::new("get_plays").name(&"v".repeat(129)), 400, "invalid_field"),
        case(Plain, list("limit=1"), 200, ""),
        case(Plain, list("limit=1000&cursor=1p0-76"), 200, ""),
        case(Plain, list("limit=1001"), 400, "invalid_field"),
        case(Plain, list("cursor=1a2f"), 400, "invalid_cursor"),
        case(WithStatistics, pulse.clone(), 200, ""),
        case(Plain, pulse, 503, "unavailable"),
    ]);
    cases
}

/// Returns the cases of hosts and their pages.
pub fn for_hosts() -> Vec<Case> {
    let pages = Request::new("list_pages").name("fred");
    let rising = Request::new("list_rising").name("fred");
    let history = Request::new("get_history").name("fred").query("path=/");
    let increases = |query: &str| Request::new("list_increases").query(query);
    let valid = increases("apikey=good&host=fred");
    let mut cases = Vec::new();
    for (request, status, code) in [
        (&pages, 200, ""),
        (&rising, 200, ""),
        (&history, 503, "unavailable"),
        (&valid, 503, "unavailable"),
    ] {
        cases.extend(common(request));
        cases.extend([
            case(Corrupt, request.clone(), status, code),
            case(NoStores, request.clone(), 503, "unavailable"),
        ]);
    }
    cases.extend([
        case(Plain, pages.clone(), 200, ""),
        case(Plain, pages.clone().name("a b"), 400, "invalid_field"),
        case(WithChartbeat, pages.clone(), 200, ""),
        case(WithChartbeat, pages.name("unseen"), 404, "not_found"),
        case(Plain, rising.clone().query("window=24h"), 200, ""),
        case(Plain, rising.clone().query("window=2m"), 400, "invalid_field"),
        case(WithChartbeat, rising.clone(), 200, ""),
        case(WithChartbeat, rising.name("unseen"), 404, "not_found"),
        case(Plain, history.clone(), 200, ""),
        case(
            Plain,
            history.clone().query("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00%2B01:00"),
            400,
            "invalid_field",
        ),
        case(Plain, Request::new("get_history").name("fred"), 400, "invalid_field"),
        case(WithStatistics, valid.clone(), 200, ""),
        case(WithStatistics, increases(""), 401, "unauthorized"),
        case(WithStatistics, increases("apikey=other&host=fred"), 401, "unauthorized"),
        after(
            RateLimited,
            increases("apikey=wrong&host=fred"),
            increases("apikey=other&host=fred"),
            429,
            "rate_limited",
        ),
        case(WithChartbeat, valid, 200, ""),
        case(WithChartbeat, increases("apikey=refused&host=fred"), 400, "upstream_refused"),
        case(WithChartbeat, increases("apikey=unheard&host=silent"), 502, "upstream_failed"),
        case(WithChartbeat, increases("apikey=one-more&host=crowded"), 503, "overloaded"),
    ]);
    cases
}

/// Returns the cases of the statistics redirect.
pub fn for_stats() -> Vec<Case> {
    let all = ["get_stats", "get_stat", "get_stat_without_slash"].into_iter();
    all.flat_map(|operation| {
        let request = Request::new(operation);
        let mut cases = common(&request).to_vec();
        cases.extend([
            case(WithStatistics, request.clone(), 302, ""),
            case(Plain, request.clone(), 503, "unavailable"),
            case(NoStores, request.clone(), 503, "unavailable"),
            case(Corrupt, request, 503, "unavailable"),
        ]);
        cases
    })
    .collect()
}

/// Returns the cases of operations that every service has.
pub fn for_services() -> Vec<Case> {
    let (health, document) = (Request::new("get_health"), Request::new("get_openapi"));
    let (page, home) = (Request::new("get_docs"), Request::new("get_home"));
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
        case(NoStores, document, 200, ""),
        case(Plain, page.clone().query("from=a+bookmark"), 200, ""),
        case(Plain, home.clone().header("accept", "text/html,*/*;q=0.8"), 302, ""),
        case(Plain, home, 404, "not_found"),
    ]);
    let at_both_servers = cases.into_iter().flat_map(|case| {
        let other = Case { request: case.request.clone().at_server(1), ..case.clone() };
        [case, other]
    });
    at_both_servers.collect()
}
