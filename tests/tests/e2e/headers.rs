//! What every answer of both APIs says beside its body.

use std::io::Read;

use mayfly_stack::Service;
use mayfly_tests::{Answer, PATIENCE, Setup, World, eventually, id_of};
use reqwest::Method;
use serde_json::json;

const APIS: [Service; 2] = [Service::IngestApi, Service::ListApi];

/// Every path of the two APIs and who answers a `GET` of it with what.
const GETS: [(Service, &str, u16); 12] = [
    (Service::IngestApi, "/", 404),
    (Service::IngestApi, "/docs", 200),
    (Service::ListApi, "/docs/swagger-ui.css", 200),
    (Service::ListApi, "/openapi.json", 200),
    (Service::IngestApi, "/health", 200),
    (Service::ListApi, "/health", 200),
    (Service::ListApi, "/v1/messages?channel=headers", 200),
    (Service::ListApi, "/v1/messages/no-id", 404),
    (Service::ListApi, "/v1/users/headers/messages", 200),
    (Service::ListApi, "/chat/no-id", 404),
    (Service::ListApi, "/chats/headers-nobody", 200),
    (Service::ListApi, "/v1/messages?cursor=x", 400),
];

/// Every public path of both, with a name where there is one.
const PATHS: [&str; 16] = [
    "/",
    "/docs",
    "/openapi.json",
    "/health",
    "/v1/messages",
    "/v1/messages/batch",
    "/v1/messages/019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47",
    "/v1/users/fred/messages",
    "/v1/users/a%2Fb/messages/take",
    "/message/write",
    "/message/write/",
    "/chat",
    "/chat/",
    "/chat/x",
    "/chats/fred",
    "/dummy",
];

#[tokio::test]
async fn cache_control_stands_on_every_answer_and_so_does_the_request_id() {
    let world = World::shared().await;
    let posted = world.http.post(world.ingest("/v1/messages")).json(&json!({"text": "x"}));
    let posted = Answer::of(posted).await;
    let id = posted.expect(202)["id"].as_str().expect("an id").to_owned();
    let mut answers = vec![posted];
    for (service, path, status) in GETS {
        let answer = Answer::of(world.http.get(world.url(service, path))).await;
        assert_eq!(answer.status, status, "{path}");
        answers.push(answer);
    }
    for service in APIS {
        for path in ["/nowhere", "/"] {
            answers.push(Answer::of(world.http.get(world.url(service, path))).await);
        }
        answers.push(
            Answer::of(world.http.request(Method::OPTIONS, world.url(service, "/chat"))).await,
        );
        answers.push(Answer::of(world.http.put(world.url(service, "/v1/messages"))).await);
        for path in ["/livez", "/readyz", "/version", "/metrics", "/nowhere"] {
            let url = format!("{}{path}", world.stack.env().admin_urls(service)[0]);
            answers.push(Answer::of(world.http.get(url)).await);
        }
    }
    let refused = world.http.post(world.ingest("/v1/messages")).json(&json!({}));
    answers.push(Answer::of(refused).await);
    answers.push(Answer::of(world.http.delete(world.list(&format!("/v1/messages/{id}")))).await);
    for answer in answers {
        assert!(!answer.header("cache-control").is_empty(), "{answer:?}");
        assert!(!answer.header("x-request-id").is_empty(), "{answer:?}");
    }
}

#[tokio::test]
async fn head_is_answered_on_every_get_without_a_body_and_neither_writes_nor_takes() {
    let world = World::shared().await;
    world.post_message(&json!({"username": "headed", "channel": "headers", "text": "x"})).await;
    for (service, path, status) in GETS {
        let (get, head) =
            (world.http.get(world.url(service, path)), world.http.head(world.url(service, path)));
        let (head, get) = (Answer::of(head).await, Answer::of(get).await);
        assert_eq!((head.status, head.body.len()), (status, 0), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
    let head = Answer::of(world.http.head(world.list("/chats/headed"))).await;
    assert_eq!(head.status, 200);
    assert_eq!(world.take("headed").await.len(), 1);
    for path in ["/message/write/", "/message/write"] {
        let url = world.ingest(&format!("{path}?username=headed&city=c&state=s&message=m"));
        let answer = Answer::of(world.http.head(url)).await;
        assert_eq!(answer.status, 405);
        assert_eq!(answer.header("allow"), "GET, POST, OPTIONS");
    }
    assert!(world.take("headed").await.is_empty(), "nothing was written");
}

#[tokio::test]
async fn options_of_every_public_path_is_answered_alike_by_both() {
    let world = World::shared().await;
    for path in PATHS {
        let mut said = Vec::new();
        for service in APIS {
            let request = world.http.request(Method::OPTIONS, world.url(service, path));
            let answer = Answer::of(request).await;
            assert!(answer.header("allow").ends_with("OPTIONS"), "{path}");
            said.push((answer.status, answer.header("allow").to_owned(), answer.body));
        }
        assert_eq!(said[0], said[1], "{path}");
        assert_eq!(said[0].0, 204, "{path}");
    }
    for service in APIS {
        let request = world.http.request(Method::OPTIONS, world.url(service, "/nowhere"));
        Answer::of(request).await.expect_problem(404, "not_found");
        let answer = Answer::of(world.http.patch(world.url(service, "/health"))).await;
        answer.expect_problem(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS");
    }
}

#[tokio::test]
async fn version_1_is_accepted_and_another_is_406() {
    let world = World::shared().await;
    for (service, path) in
        [(Service::IngestApi, "/health"), (Service::ListApi, "/v1/messages?limit=1")]
    {
        let get = |accept: &'static str| {
            Answer::of(world.http.get(world.url(service, path)).header("accept", accept))
        };
        for accept in ["application/json; version=1", "application/json", "*/*", "text/html"] {
            assert_eq!(get(accept).await.status, 200, "{accept}");
        }
        for accept in ["application/json; version=2", "application/json;version=\"0\""] {
            get(accept).await.expect_problem(406, "not_acceptable");
        }
    }
    let message = json!({"username": "other-version", "text": "x"});
    let post = world.http.post(world.ingest("/v1/messages")).json(&message);
    let post = post.header("accept", "application/json; version=2");
    Answer::of(post).await.expect_problem(406, "not_acceptable");
    assert!(world.take("other-version").await.is_empty());
}

#[tokio::test]
async fn what_is_larger_than_1_kib_goes_as_gzip_where_that_is_wanted() {
    let world = World::shared().await;
    let message = world.post_message(&json!({"text": "x".repeat(2_000)})).await;
    let short = world.post_message(&json!({"text": "x"})).await;
    let get = |id: &str, accepted: &'static str| {
        let url = world.list(&format!("/v1/messages/{id}"));
        Answer::of(world.http.get(url).header("accept-encoding", accepted))
    };
    let zipped = get(id_of(&message), "gzip, br").await;
    assert_eq!((zipped.status, zipped.header("content-encoding")), (200, "gzip"));
    let vary = zipped.headers.get_all("vary").iter().filter_map(|value| value.to_str().ok());
    assert!(vary.collect::<String>().to_lowercase().contains("accept-encoding"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&zipped.body[..]).read_to_string(&mut text).expect("it is gzip");
    let plain = get(id_of(&message), "identity").await;
    assert_eq!((plain.header("content-encoding"), plain.text()), ("", text));
    let short = get(id_of(&short), "gzip").await;
    assert_eq!((short.status, short.header("content-encoding")), (200, ""));
}

#[tokio::test]
async fn pages_of_allowed_origins_may_call_and_others_may_not() {
    let world = World::shared().await;
    let ours = "http://localhost:3000";
    for service in APIS {
        for path in PATHS {
            let preflight = |origin: &'static str| {
                let request = world.http.request(Method::OPTIONS, world.url(service, path));
                let request = request.header("origin", origin);
                let request = request
                    .header("access-control-request-headers", "content-type,idempotency-key");
                Answer::of(request.header("access-control-request-method", "POST"))
            };
            let allowed = preflight(ours).await;
            assert!(allowed.status < 300, "{path}: {allowed:?}");
            assert_eq!(allowed.header("access-control-allow-origin"), ours, "{path}");
            assert_eq!(allowed.header("access-control-max-age"), "600", "{path}");
            assert!(allowed.header("access-control-allow-methods").contains("POST"), "{path}");
            let foreign = preflight("https://example.org").await;
            assert_eq!(foreign.header("access-control-allow-origin"), "", "{path}");
        }
        let get = |origin: &'static str| {
            Answer::of(world.http.get(world.url(service, "/health")).header("origin", origin))
        };
        let allowed = get(ours).await;
        assert_eq!(allowed.header("access-control-allow-origin"), ours);
        assert_eq!(allowed.header("access-control-allow-credentials"), "", "no cookies");
        let exposed = allowed.header("access-control-expose-headers").to_lowercase();
        for name in [
            "location",
            "link",
            "etag",
            "ratelimit",
            "retry-after",
            "x-request-id",
            "idempotent-replayed",
        ] {
            assert!(exposed.split([',', ' ']).any(|one| one == name), "{name} is not in {exposed}");
        }
        assert_eq!(get("https://example.org").await.header("access-control-allow-origin"), "");
    }
}

#[tokio::test]
async fn a_request_id_is_taken_or_made_echoed_and_stands_in_every_log_at_debug() {
    let world = Setup::new().set("MAYFLY_LOG__LEVEL", "debug").start().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let post = |id: &str| {
        let request = world.http.post(world.ingest("/v1/messages")).header("x-request-id", id);
        Answer::of(
            request.header("traceparent", trace).json(&json!({"username": "u", "text": "x"})),
        )
    };
    let longest = "r".repeat(128);
    for id in ["request-of_test.1", longest.as_str()] {
        let answer = post(id).await;
        assert_eq!((answer.status, answer.header("x-request-id")), (202, id));
        assert_eq!(answer.header("traceparent"), trace);
    }
    for bad in ["two words", "a/b", "r".repeat(129).leak()] {
        let made = post(bad).await.header("x-request-id").to_owned();
        assert!(!made.is_empty() && made != bad, "{made}");
    }
    let take = world.http.post(world.list("/v1/users/u/messages/take"));
    Answer::of(take.header("x-request-id", "take-of-test")).await.expect(200);
    let log = async |service: &str| {
        let path = world.spec.root.join(".mayfly/logs");
        let logs = std::fs::read_dir(path).expect("there are logs").flatten();
        let logs = logs.filter(|log| log.file_name().to_string_lossy().starts_with(service));
        logs.map(|log| std::fs::read_to_string(log.path()).expect("a log is text"))
            .collect::<String>()
    };
    for (service, wanted) in [
        ("ingest-api", ["request-of_test.1", longest.as_str()]),
        ("list-api", ["take-of-test", "take-of-test"]),
        ("persist-worker", ["request-of_test.1", "take-of-test"]),
        ("persist-worker", [longest.as_str(), trace]),
    ] {
        eventually(PATIENCE, "it stands in the log", async || {
            let log = log(service).await;
            if wanted.iter().all(|one| log.contains(one)) { Ok(()) } else { Err(log) }
        })
        .await;
    }
}
