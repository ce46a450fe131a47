//! Malformed requests by the thousand: each is refused as the contract says, and nobody falls.

use fastrand::Rng;
use futures_util::{StreamExt, stream};
use mayfly_stack::Service;
use mayfly_tests::{Answer, PATIENCE, Setup, World, eventually, short_or_full};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use reqwest::{Method, RequestBuilder};
use serde_json::json;

const SEED: u64 = 7;
/// Requests of one round; 200 rounds are ten thousand.
const ROUND: usize = 50;

/// A request that nobody should accept.
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

/// Something of a random length in a random alphabet.
fn noise(rng: &mut Rng, length_max: usize) -> String {
    let alphabet = ["a", "0", "\"", "\\", "{", "[", "%", "ä", "😀", " ", ":", ",", "-"];
    (0..rng.usize(1..length_max)).map(|_| pick(rng, &alphabet)).collect()
}

/// JSON that is cut off, bent or no JSON at all, and no message in any case.
fn broken_json(rng: &mut Rng) -> Vec<u8> {
    let whole = json!({"channel": "lobby", "username": noise(rng, 9), "text": noise(rng, 40)});
    let whole = whole.to_string();
    let depth = rng.usize(200..10_001);
    match rng.u8(..9) {
        0 => whole.as_bytes()[..rng.usize(1..whole.len())].to_vec(),
        1 => format!("{whole}{}", pick(rng, &["}", "]", ",", "x", "{}"])).into(),
        2 => [b"\xef\xbb\xbf", whole.as_bytes()].concat(),
        3 => [b"{\"text\":\"\xff", noise(rng, 9).as_bytes(), b"\"}"].concat(),
        4 => format!("{{\"data\":{}", "[".repeat(depth)).into(),
        5 => format!("{{\"data\":{}{}}}", "[".repeat(depth), "]".repeat(depth)).into(),
        6 => format!("{{\"data\":{}1{}}}", "{\"a\":".repeat(depth), "}".repeat(depth)).into(),
        7 => noise(rng, 200).replace('[', "(").replace('0', "o").into(),
        _ => Vec::new(),
    }
}

/// A value that its field does not take; as JSON text.
fn wrong_field(rng: &mut Rng) -> String {
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

fn wrong_body(rng: &mut Rng) -> Malformed {
    let broken = rng.bool();
    let item =
        if broken { broken_json(rng) } else { format!("{{{}}}", wrong_field(rng)).into_bytes() };
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

fn wrong_document(rng: &mut Rng) -> Malformed {
    let member = match rng.u8(..4) {
        0 => format!("1e{}", rng.u32(309..)),
        1 => format!("\"\\ud8{:02x}\"", rng.u8(..)),
        2 => format!("{}{}", "[".repeat(100), "]".repeat(100)),
        _ => "\"\\u0000\"".into(),
    };
    Malformed::post("/dummy", JSON, format!("{{\"k\":{member}}}"))
}

fn wrong_form(rng: &mut Rng) -> Malformed {
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

fn wrong_kind(rng: &mut Rng) -> Malformed {
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

fn wrong_read(rng: &mut Rng) -> Malformed {
    let name: String = percent_encode(noise(rng, 12).as_bytes(), NON_ALPHANUMERIC).to_string();
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

fn wrong_method(rng: &mut Rng) -> Malformed {
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
        0..=5 => wrong_body(rng),
        6 => wrong_document(rng),
        7..=8 => wrong_form(rng),
        9 => wrong_kind(rng),
        10 => too_large(rng),
        11..=14 => wrong_read(rng),
        _ => wrong_method(rng),
    }
}

/// What is wrong with the answer to a malformed request.
async fn refusal_of(world: &World, malformed: Malformed) -> Result<(), String> {
    let answer = Answer::of(malformed.request(world)).await;
    let wrong = if !(400..500).contains(&answer.status) {
        Err("it is not refused".to_owned())
    } else if malformed.method == Method::HEAD {
        // Its answer has no body to say more.
        Ok(())
    } else {
        answer.check_problem()
    };
    wrong.map_err(|wrong| {
        let body = String::from_utf8_lossy(&malformed.body).chars().take(300).collect::<String>();
        format!(
            "{wrong}: {} {} {:?} {body}\n{} {}",
            malformed.method,
            malformed.path,
            malformed.content_type,
            answer.status,
            answer.text()
        )
    })
}

#[tokio::test]
async fn malformed_requests_are_refused_with_a_problem_of_the_contract_and_nobody_restarts() {
    let world = Setup::new().start().await;
    let pids = || {
        [Service::IngestApi, Service::ListApi, Service::PersistWorker]
            .map(|one| world.stack.env().pids(one))
    };
    let before = pids();
    let mut rng = Rng::with_seed(SEED);
    let requests: Vec<_> =
        (0..short_or_full(40, 200) * ROUND).map(|_| malformed(&mut rng)).collect();
    let refusals: Vec<_> = stream::iter(requests)
        .map(|request| refusal_of(&world, request))
        .buffer_unordered(16)
        .filter_map(async |refusal| refusal.err())
        .collect()
        .await;
    assert!(
        refusals.is_empty(),
        "{} of them, such as\n{}",
        refusals.len(),
        refusals[..refusals.len().min(5)].join("\n\n")
    );
    assert_eq!(pids(), before, "nobody restarted");
    let next = world.post_message(&json!({"text": "it still works"})).await;
    eventually(PATIENCE, "nothing but the next message was accepted", async || {
        let walked = world.walk(10).await;
        if walked == [next.clone()] { Ok(()) } else { Err(walked) }
    })
    .await;
}
