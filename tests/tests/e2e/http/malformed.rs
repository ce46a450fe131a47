//! Thousands of malformed requests: each is rejected with a valid problem, and no process crashes.

use fastrand::Rng;
use futures_util::{StreamExt, stream};
use mayfly_stack::Service;
use mayfly_tests::{ApiResponse, DEFAULT_TIMEOUT, Setup, World, eventually, short_or_full};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use reqwest::{Method, RequestBuilder};
use serde_json::json;

const SEED: u64 = 7;
/// Requests per round; 200 rounds are ten thousand requests.
const REQUESTS_PER_ROUND: usize = 50;

/// A request that must be rejected.
#[derive(Debug, Clone)]
struct Malformed {
    service: Service,
    method: Method,
    path: String,
    content_type: Option<&'static str>,
    body: Vec<u8>,
}

const JSON: Option<&str> = Some("application/json");
const NDJSON: Option<&str> = Some("application/x-ndjson");
const FORM: Option<&str> = Some("application/x-www-form-urlencoded");

impl Malformed {
    fn post(
        path: impl Into<String>,
        content_type: Option<&'static str>,
        body: impl Into<Vec<u8>>,
    ) -> Self {
        let (service, method) = (Service::IngestApi, Method::POST);
        Self { service, method, path: path.into(), content_type, body: body.into() }
    }

    fn list(method: Method, path: String) -> Self {
        Self { service: Service::ListApi, method, path, content_type: None, body: Vec::new() }
    }

    fn request(&self, world: &World) -> RequestBuilder {
        let url = world.url(self.service, &self.path);
        let request = world.http.request(self.method.clone(), url).body(self.body.clone());
        match self.content_type {
            Some(kind) => request.header("content-type", kind),
            None => request,
        }
    }
}

fn pick<'a>(rng: &mut Rng, all: &[&'a str]) -> &'a str {
    all[rng.usize(..all.len())]
}

/// Returns random text.
fn random_text(rng: &mut Rng, max_length: usize) -> String {
    let alphabet = ["a", "0", "\"", "\\", "{", "[", "%", "ä", "😀", " ", ":", ",", "-"];
    (0..rng.usize(1..max_length)).map(|_| pick(rng, &alphabet)).collect()
}

/// Returns truncated, corrupted or deeply nested JSON that is not a valid message.
fn broken_json(rng: &mut Rng) -> Vec<u8> {
    let complete =
        json!({"channel": "lobby", "username": random_text(rng, 9), "text": random_text(rng, 40)});
    let complete = complete.to_string();
    let depth = rng.usize(200..10_001);
    match rng.u8(..9) {
        0 => complete.as_bytes()[..rng.usize(1..complete.len())].to_vec(),
        1 => format!("{complete}{}", pick(rng, &["}", "]", ",", "x", "{}"])).into(),
        2 => [b"\xef\xbb\xbf", complete.as_bytes()].concat(),
        3 => [b"{\"text\":\"\xff", random_text(rng, 9).as_bytes(), b"\"}"].concat(),
        4 => format!("{{\"data\":{}", "[".repeat(depth)).into(),
        5 => format!("{{\"data\":{}{}}}", "[".repeat(depth), "]".repeat(depth)).into(),
        6 => format!("{{\"data\":{}1{}}}", "{\"a\":".repeat(depth), "}".repeat(depth)).into(),
        7 => random_text(rng, 200).replace('[', "(").replace('0', "o").into(),
        _ => Vec::new(),
    }
}

/// Returns an invalid field, as JSON text.
fn invalid_field(rng: &mut Rng) -> String {
    let long = |rng: &mut Rng, from: usize| "ä".repeat(rng.usize(from + 1..from + 500));
    match rng.u8(..16) {
        0 => format!("\"text\":\"{}\"", long(rng, 4_096)),
        1 => format!("\"text\":\"x\",\"username\":\"{}\"", long(rng, 200)),
        2 => format!("\"text\":\"x\",\"channel\":\"{}\"", long(rng, 64)),
        3 => format!("\"text\":\"x\",\"city\":\"{}\"", long(rng, 64)),
        4 => format!("\"text\":\"x\",\"ttl\":{}", rng.i64(604_801..)),
        5 => format!("\"text\":\"x\",\"ttl\":-{}", rng.u64(1..)),
        6 => format!("\"text\":\"x\",\"ttl\":{}.{}", rng.u8(..), rng.u8(1..)),
        7 => format!("\"text\":{}", pick(rng, &["1", "true", "[]", "{}", "null", "\"\"", "1e999"])),
        8 => format!(
            "\"text\":\"x\",\"username\":{}",
            pick(rng, &["1", "[\"u\"]", "\"\"", "\"\\u0007\""])
        ),
        9 => format!("\"text\":\"x\",\"state\":{}", pick(rng, &["0", "{}", "\"\"", "\"\\u0000\""])),
        10 => "\"text\":\"a\\u0000b\"".into(),
        11 => format!("\"text\":\"\\ud8{:02x}\"", rng.u8(..)),
        12 => format!("\"data\":{{\"k\":[\"\\udc{:02x}\"]}}", rng.u8(..)),
        13 => format!("\"data\":[1,{}1e{}]", pick(rng, &["", "-"]), rng.u32(309..)),
        14 => format!("\"text\":\"x\",\"{}\":1", pick(rng, &["Text", "id", "expires_at", "x", ""])),
        _ => {
            format!("\"text\":\"x\",\"{0}\":null,\"{0}\":null", pick(rng, &["data", "city", "ttl"]))
        }
    }
}

fn invalid_body(rng: &mut Rng) -> Malformed {
    let broken = rng.bool();
    let item =
        if broken { broken_json(rng) } else { format!("{{{}}}", invalid_field(rng)).into_bytes() };
    match rng.u8(..4) {
        0 => Malformed::post("/v1/messages", JSON, item),
        1 => Malformed::post(
            "/v1/messages/batch",
            JSON,
            [b"[{\"text\":\"x\"},", &item[..], b"]"].concat(),
        ),
        2 => {
            let one_line: Vec<_> = item.into_iter().filter(|byte| *byte != b'\n').collect();
            let bad = if one_line.is_empty() { b"{".to_vec() } else { one_line };
            Malformed::post(
                "/v1/messages/batch",
                NDJSON,
                [b"{\"text\":\"x\"}\n", &bad[..]].concat(),
            )
        }
        _ => Malformed::post(pick(rng, &["/chat", "/chat/"]), JSON, item),
    }
}

fn invalid_document(rng: &mut Rng) -> Malformed {
    let member = match rng.u8(..4) {
        0 => format!("1e{}", rng.u32(309..)),
        1 => format!("\"\\ud8{:02x}\"", rng.u8(..)),
        2 => format!("{}{}", "[".repeat(100), "]".repeat(100)),
        _ => "\"\\u0000\"".into(),
    };
    Malformed::post("/dummy", JSON, format!("{{\"k\":{member}}}"))
}

fn invalid_form(rng: &mut Rng) -> Malformed {
    let path = pick(rng, &["/message/write", "/message/write/"]);
    let long = "x".repeat(4_097);
    let all = [
        "username=u&city=c&state=s",
        "username=&city=c&state=s&message=m",
        "username=%00&city=c&state=s&message=m",
        "username=u&city=%FF&state=s&message=m",
        "username=u&city=c&state=s&message=m&message=n",
        "username=u&city=c&state=s&message=m&ttl=1",
        "message",
    ];
    let form = if rng.bool() {
        pick(rng, &all).to_owned()
    } else {
        format!("username=u&city=c&state=s&message={long}")
    };
    if rng.bool() {
        Malformed::post(path, FORM, form)
    } else {
        Malformed { method: Method::GET, ..Malformed::post(format!("{path}?{form}"), None, "") }
    }
}

fn invalid_content_type(rng: &mut Rng) -> Malformed {
    let kinds = [
        None,
        Some("text/plain"),
        Some("text/json"),
        Some("application/json; charset=utf-16"),
        Some("nonsense"),
        Some(";;;"),
    ];
    let paths = ["/v1/messages", "/v1/messages/batch", "/chat", "/dummy", "/message/write/"];
    let kind = kinds[rng.usize(..kinds.len())];
    Malformed::post(pick(rng, &paths), kind, "{\"text\":\"x\",\"username\":\"u\"}")
}

fn too_large(rng: &mut Rng) -> Malformed {
    let paths = ["/v1/messages", "/chat", "/dummy"];
    let length = rng.usize(64 * 1024 + 1..80_000);
    Malformed::post(pick(rng, &paths), JSON, vec![b' '; length])
}

fn invalid_read(rng: &mut Rng) -> Malformed {
    let name: String =
        percent_encode(random_text(rng, 12).as_bytes(), NON_ALPHANUMERIC).to_string();
    let list = ["/v1/messages", "/v1/users/u/messages", "/chats/u"];
    let list = pick(rng, &list);
    let path = match rng.u8(..8) {
        0 => format!("/v1/messages?cursor={name}"),
        1 => format!("/v1/messages?cursor=1a{:x}f0{name}", rng.u64(..)),
        2 => format!("{list}?limit={}", rng.u64(1_001..)),
        3 => format!("{list}?limit={}", pick(rng, &["0", "-1", "1.5", "", "x", "1&limit=2"])),
        4 => format!("{list}?x{name}=1"),
        5 => format!("/v1/messages?{}={name}%20", pick(rng, &["channel", "order"])),
        6 => format!("/v1/messages/{name}"),
        _ => format!("/v1/users/{name}%{}/messages", pick(rng, &["00", "FF", "0A", "7F"])),
    };
    Malformed::list(pick(rng, &["GET", "HEAD"]).parse().expect("a method"), path)
}

fn invalid_method(rng: &mut Rng) -> Malformed {
    let paths = [
        "/v1/messages",
        "/message/write",
        "/chat",
        "/nowhere",
        "/",
        "/v1/messages/batch",
        "/health",
    ];
    let methods = ["PUT", "PATCH", "DELETE", "TRACE", "BREW"];
    let method = pick(rng, &methods).parse().expect("a method");
    let service = if rng.bool() { Service::IngestApi } else { Service::ListApi };
    Malformed { service, method, ..Malformed::list(Method::GET, pick(rng, &paths).into()) }
}

fn malformed(rng: &mut Rng) -> Malformed {
    match rng.u8(..16) {
        0..=5 => invalid_body(rng),
        6 => invalid_document(rng),
        7..=8 => invalid_form(rng),
        9 => invalid_content_type(rng),
        10 => too_large(rng),
        11..=14 => invalid_read(rng),
        _ => invalid_method(rng),
    }
}

/// Sends a malformed request. Returns a description of the error if the rejection is invalid.
async fn check_rejection(world: &World, malformed: Malformed) -> Result<(), String> {
    let response = ApiResponse::send(malformed.request(world)).await;
    let checked = if !(400..500).contains(&response.status) {
        Err("the request is not rejected".to_owned())
    } else if malformed.method == Method::HEAD {
        // The response has no body to check.
        Ok(())
    } else {
        response.check_problem()
    };
    checked.map_err(|wrong| {
        let body = String::from_utf8_lossy(&malformed.body).chars().take(300).collect::<String>();
        format!(
            "{wrong}: {} {} {:?} {body}\n{} {}",
            malformed.method,
            malformed.path,
            malformed.content_type,
            response.status,
            response.text()
        )
    })
}

#[tokio::test]
async fn malformed_requests_are_rejected_with_a_problem_and_crash_no_process() {
    let world = Setup::new().start().await;
    let pids = || {
        [Service::IngestApi, Service::ListApi, Service::PersistWorker]
            .map(|one| world.stack.env().pids(one))
    };
    let before = pids();
    let mut rng = Rng::with_seed(SEED);
    let requests: Vec<_> =
        (0..short_or_full(40, 200) * REQUESTS_PER_ROUND).map(|_| malformed(&mut rng)).collect();
    let violations: Vec<_> = stream::iter(requests)
        .map(|request| check_rejection(&world, request))
        .buffer_unordered(16)
        .filter_map(async |violation| violation.err())
        .collect()
        .await;
    assert!(
        violations.is_empty(),
        "{} violations, for example\n{}",
        violations.len(),
        violations[..violations.len().min(5)].join("\n\n")
    );
    assert_eq!(pids(), before, "no process restarted");
    let next = world.post_message(&json!({"text": "it still works"})).await;
    eventually(DEFAULT_TIMEOUT, "only the next message was accepted", async || {
        let listed = world.list_all_messages(10).await;
        if listed == [next.clone()] { Ok(()) } else { Err(listed) }
    })
    .await;
}
