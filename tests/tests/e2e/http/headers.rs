//! Response headers of both APIs.

use std::io::Read;

use mayfly_stack::Service;
use mayfly_tests::{ApiResponse, DEFAULT_TIMEOUT, Setup, World, eventually, message_id};
use reqwest::Method;
use serde_json::json;

const APIS: [Service; 2] = [Service::IngestApi, Service::ListApi];

/// `GET` requests to both APIs with their expected statuses.
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
    (Service::ListApi, "/chats/headers-unknown", 200),
    (Service::ListApi, "/v1/messages?cursor=x", 400),
];

/// All public paths, with parameters filled in.
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
async fn every_response_has_cache_control_and_request_id() {
    let world = World::shared().await;
    let posted = world.http.post(world.ingest_url("/v1/messages")).json(&json!({"text": "x"}));
    let posted = ApiResponse::send(posted).await;
    let id = posted.expect_status(202)["id"].as_str().expect("an id").to_owned();
    let mut responses = vec![posted];
    for (service, path, status) in GETS {
        let response = ApiResponse::send(world.http.get(world.url(service, path))).await;
        assert_eq!(response.status, status, "{path}");
        responses.push(response);
    }
    for service in APIS {
        for path in ["/nowhere", "/"] {
            responses.push(ApiResponse::send(world.http.get(world.url(service, path))).await);
        }
        responses.push(
            ApiResponse::send(world.http.request(Method::OPTIONS, world.url(service, "/chat")))
                .await,
        );
        responses.push(ApiResponse::send(world.http.put(world.url(service, "/v1/messages"))).await);
        for path in ["/livez", "/readyz", "/version", "/metrics", "/nowhere"] {
            let url = format!("{}{path}", world.stack.env().admin_urls(service)[0]);
            responses.push(ApiResponse::send(world.http.get(url)).await);
        }
    }
    let rejected = world.http.post(world.ingest_url("/v1/messages")).json(&json!({}));
    responses.push(ApiResponse::send(rejected).await);
    responses.push(
        ApiResponse::send(world.http.delete(world.list_url(&format!("/v1/messages/{id}")))).await,
    );
    for response in responses {
        assert!(!response.header("cache-control").is_empty(), "{response:?}");
        assert!(!response.header("x-request-id").is_empty(), "{response:?}");
    }
}

#[tokio::test]
async fn head_returns_no_body_and_neither_writes_nor_takes() {
    let world = World::shared().await;
    world.post_message(&json!({"username": "headed", "channel": "headers", "text": "x"})).await;
    for (service, path, status) in GETS {
        let (get, head) =
            (world.http.get(world.url(service, path)), world.http.head(world.url(service, path)));
        let (head, get) = (ApiResponse::send(head).await, ApiResponse::send(get).await);
        assert_eq!((head.status, head.body.len()), (status, 0), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
    let head = ApiResponse::send(world.http.head(world.list_url("/chats/headed"))).await;
    assert_eq!(head.status, 200);
    assert_eq!(world.take("headed").await.len(), 1);
    for path in ["/message/write/", "/message/write"] {
        let url = world.ingest_url(&format!("{path}?username=headed&city=c&state=s&message=m"));
        let response = ApiResponse::send(world.http.head(url)).await;
        assert_eq!(response.status, 405);
        assert_eq!(response.header("allow"), "GET, POST, OPTIONS");
    }
    assert!(world.take("headed").await.is_empty(), "nothing was written");
}

#[tokio::test]
async fn options_response_is_identical_at_both_services() {
    let world = World::shared().await;
    for path in PATHS {
        let mut responses = Vec::new();
        for service in APIS {
            let request = world.http.request(Method::OPTIONS, world.url(service, path));
            let response = ApiResponse::send(request).await;
            assert!(response.header("allow").ends_with("OPTIONS"), "{path}");
            responses.push((response.status, response.header("allow").to_owned(), response.body));
        }
        assert_eq!(responses[0], responses[1], "{path}");
        assert_eq!(responses[0].0, 204, "{path}");
    }
    for service in APIS {
        let request = world.http.request(Method::OPTIONS, world.url(service, "/nowhere"));
        ApiResponse::send(request).await.expect_problem(404, "not_found");
        let response = ApiResponse::send(world.http.patch(world.url(service, "/health"))).await;
        response.expect_problem(405, "method_not_allowed");
        assert_eq!(response.header("allow"), "GET, HEAD, OPTIONS");
    }
}

#[tokio::test]
async fn version_1_is_accepted_and_others_return_406() {
    let world = World::shared().await;
    for (service, path) in
        [(Service::IngestApi, "/health"), (Service::ListApi, "/v1/messages?limit=1")]
    {
        let get = |accept: &'static str| {
            ApiResponse::send(world.http.get(world.url(service, path)).header("accept", accept))
        };
        for accept in [
            "application/json; version=1",
            "application/json;version=1.0",
            "application/json",
            "*/*",
            "text/html",
        ] {
            assert_eq!(get(accept).await.status, 200, "{accept}");
        }
        for accept in ["application/json; version=2", "application/json;version=\"0\""] {
            get(accept).await.expect_problem(406, "not_acceptable");
        }
    }
    let message = json!({"username": "other-version", "text": "x"});
    let post = world.http.post(world.ingest_url("/v1/messages")).json(&message);
    let post = post.header("accept", "application/json; version=2");
    ApiResponse::send(post).await.expect_problem(406, "not_acceptable");
    assert!(world.take("other-version").await.is_empty());
}

#[tokio::test]
async fn bodies_above_1_kib_are_compressed_if_accepted() {
    let world = World::shared().await;
    let message = world.post_message(&json!({"text": "x".repeat(2_000)})).await;
    let short = world.post_message(&json!({"text": "x"})).await;
    let get = |id: &str, accepted: &'static str| {
        let url = world.list_url(&format!("/v1/messages/{id}"));
        ApiResponse::send(world.http.get(url).header("accept-encoding", accepted))
    };
    let compressed = get(message_id(&message), "gzip, br").await;
    assert_eq!((compressed.status, compressed.header("content-encoding")), (200, "gzip"));
    let vary = compressed.headers.get_all("vary").iter().filter_map(|value| value.to_str().ok());
    assert!(vary.collect::<String>().to_lowercase().contains("accept-encoding"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&compressed.body[..])
        .read_to_string(&mut text)
        .expect("valid gzip");
    let plain = get(message_id(&message), "identity").await;
    assert_eq!((plain.header("content-encoding"), plain.text()), ("", text));
    let short = get(message_id(&short), "gzip").await;
    assert_eq!((short.status, short.header("content-encoding")), (200, ""));
}

#[tokio::test]
async fn cors_allows_configured_origins_only() {
    let world = World::shared().await;
    let allowed_origin = "http://localhost:3000";
    for service in APIS {
        for path in PATHS {
            let preflight = |origin: &'static str| {
                let request = world.http.request(Method::OPTIONS, world.url(service, path));
                let request = request.header("origin", origin);
                let request = request
                    .header("access-control-request-headers", "content-type,idempotency-key");
                ApiResponse::send(request.header("access-control-request-method", "POST"))
            };
            let allowed = preflight(allowed_origin).await;
            assert!(allowed.status < 300, "{path}: {allowed:?}");
            assert_eq!(allowed.header("access-control-allow-origin"), allowed_origin, "{path}");
            assert_eq!(allowed.header("access-control-max-age"), "600", "{path}");
            assert!(allowed.header("access-control-allow-methods").contains("POST"), "{path}");
            let rejected = preflight("https://example.org").await;
            assert_eq!(rejected.header("access-control-allow-origin"), "", "{path}");
        }
        let get = |origin: &'static str| {
            ApiResponse::send(
                world.http.get(world.url(service, "/health")).header("origin", origin),
            )
        };
        let allowed = get(allowed_origin).await;
        assert_eq!(allowed.header("access-control-allow-origin"), allowed_origin);
        assert_eq!(allowed.header("access-control-allow-credentials"), "", "no cookies");
        let exposed = allowed.header("access-control-expose-headers").to_lowercase();
        for name in [
            "location",
            "link",
            "etag",
            "ratelimit",
            "ratelimit-policy",
            "retry-after",
            "x-request-id",
            "idempotent-replayed",
            "mayfly-accepted",
            "mayfly-stale",
            "age",
        ] {
            assert!(exposed.split([',', ' ']).any(|one| one == name), "{name} is not in {exposed}");
        }
        assert_eq!(get("https://example.org").await.header("access-control-allow-origin"), "");
    }
}

#[tokio::test]
async fn request_id_is_accepted_or_generated_and_logged_by_every_service() {
    let world = Setup::new().set("MAYFLY_LOG__LEVEL", "debug").start().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let post = |id: &str| {
        let request = world.http.post(world.ingest_url("/v1/messages")).header("x-request-id", id);
        ApiResponse::send(
            request.header("traceparent", trace).json(&json!({"username": "u", "text": "x"})),
        )
    };
    let longest = "r".repeat(128);
    for id in ["request-of_test.1", longest.as_str()] {
        let response = post(id).await;
        assert_eq!((response.status, response.header("x-request-id")), (202, id));
        assert_eq!(response.header("traceparent"), trace);
    }
    for bad in ["two words", "a/b", "r".repeat(129).leak()] {
        let generated = post(bad).await.header("x-request-id").to_owned();
        assert!(!generated.is_empty() && generated != bad, "{generated}");
    }
    let take = world.http.post(world.list_url("/v1/users/u/messages/take"));
    ApiResponse::send(take.header("x-request-id", "take-of-test")).await.expect_status(200);
    let log = async |service: &str| {
        let path = world.spec.root.join(".mayfly/logs");
        let logs = std::fs::read_dir(path).expect("the log directory exists").flatten();
        let logs = logs.filter(|log| log.file_name().to_string_lossy().starts_with(service));
        logs.map(|log| std::fs::read_to_string(log.path()).expect("valid UTF-8"))
            .collect::<String>()
    };
    for (service, expected) in [
        ("ingest-api", ["request-of_test.1", longest.as_str()]),
        ("list-api", ["take-of-test", "take-of-test"]),
        ("persist-worker", ["request-of_test.1", "take-of-test"]),
        ("persist-worker", [longest.as_str(), trace]),
    ] {
        eventually(DEFAULT_TIMEOUT, "the IDs are logged", async || {
            let log = log(service).await;
            if expected.iter().all(|one| log.contains(one)) { Ok(()) } else { Err(log) }
        })
        .await;
    }
}

#[tokio::test]
async fn page_of_another_origin_neither_writes_nor_takes() {
    let world = World::shared().await;
    let name = "cross-origin";
    let message = world.post_message(&json!({"username": name, "text": "x"})).await;
    let id = message_id(&message).to_owned();
    let write = format!("/message/write/?username={name}&city=c&state=s&message=m");
    let cross_origin = [("origin", "http://evil.example"), ("sec-fetch-site", "cross-site")];
    for (header, value) in cross_origin {
        for request in [
            world.http.post(world.ingest_url("/v1/messages")).json(&json!({"username": name})),
            world.http.post(world.ingest_url(&write)),
            world.http.get(world.ingest_url(&write)),
            world.http.post(world.list_url(&format!("/v1/users/{name}/messages/take"))),
            world.http.get(world.list_url(&format!("/chats/{name}"))),
            world.http.delete(world.list_url(&format!("/v1/messages/{id}"))),
        ] {
            let response = ApiResponse::send(request.header(header, value)).await;
            response.expect_problem(403, "forbidden");
        }
    }
    let other_host = world.http.get(world.list_url("/v1/messages")).header("host", "evil.example");
    ApiResponse::send(other_host).await.expect_problem(403, "forbidden");
    assert_eq!(world.take(name).await.len(), 1, "nothing was written, taken or deleted");
}

#[tokio::test]
async fn beacon_of_an_allowed_page_is_a_visit() {
    let world = World::shared().await;
    let visit = json!({"host": "beacon.test", "path": "/", "visitor": "v"}).to_string();
    let post = |origin: &'static str| {
        let request = world.http.post(world.ingest_url("/v1/visits")).body(visit.clone());
        let request = request.header("content-type", "text/plain;charset=UTF-8");
        ApiResponse::send(request.header("origin", origin))
    };
    post("http://evil.example").await.expect_problem(403, "forbidden");
    post("http://localhost:3000").await.expect_status(202);
    let (_, pages) = world.get("/v1/hosts/beacon.test/pages").await;
    assert_eq!(pages["visitors"], 1);
}
