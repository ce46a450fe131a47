//! Checks the OpenAPI document of both APIs against their responses.

mod cases;
mod document;
mod recorder;
mod request;

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use mayfly_core::{
    Timestamp,
    plays::VideoCount,
    stats::{CityCount, MessageCounts, PlayCounts, RunResult, Snapshot},
};
use mayfly_http::routes::ROUTES;
use mayfly_stack::Service;
use mayfly_tests::{ApiResponse, World, message_id};
use serde_json::{Value, json};

use self::{
    document::{Document, escape, members},
    recorder::{Case, Recorder},
};

const APIS: [Service; 2] = [Service::IngestApi, Service::ListApi];
/// The number of concurrent cases.
const CONCURRENT_CASES: usize = 8;
/// Documented outcomes of every operation that accesses a store, which a test cannot provoke
/// everywhere: they need more requests than the store can execute, or an unexpected error.
const UNTESTED: [(u16, &str); 2] = [(503, "overloaded"), (500, "internal")];

async fn read_document(world: &World) -> Document {
    let response = ApiResponse::send(world.http.get(world.list_url("/openapi.json"))).await;
    Document::parse(response.expect_status(200))
}

#[tokio::test]
async fn both_apis_serve_the_same_document() {
    let world = World::shared().await;
    let mut served = Vec::new();
    for service in APIS {
        let url = world.url(service, "/openapi.json");
        let plain = ApiResponse::send(world.http.get(&url)).await;
        assert_eq!(plain.expect_status(200)["openapi"], "3.1.0");
        let compressed =
            ApiResponse::send(world.http.get(&url).header("accept-encoding", "gzip")).await;
        assert_eq!(compressed.header("content-encoding"), "gzip");
        assert!(compressed.body.len() * 5 < plain.body.len(), "{}", compressed.body.len());
        let head = ApiResponse::send(world.http.head(&url)).await;
        assert_eq!(head.header("content-length"), plain.body.len().to_string());
        let conditional = world.http.get(&url).header("if-none-match", plain.header("etag"));
        assert_eq!(ApiResponse::send(conditional).await.status, 304);
        served.push(plain.body);
    }
    assert_eq!(served[0], served[1]);
    let info = serde_json::from_slice::<Value>(&served[0]).expect("valid JSON")["info"].take();
    assert_eq!(info["license"]["identifier"], "Apache-2.0");
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn every_operation_has_the_public_url_of_its_service() {
    let world = World::shared().await;
    let document = read_document(&world).await;
    for (path, item) in members(&document.json["paths"]) {
        for (method, operation) in members(item) {
            for server in operation["servers"].as_array().expect("at least one") {
                let name = server["description"].as_str().expect("`description` is set");
                let service = APIS.into_iter().find(|service| service.name() == name);
                let service = service.unwrap_or_else(|| panic!("{method} {path}: {name}"));
                assert_eq!(server["url"], world.url(service, ""), "{method} {path}");
            }
        }
    }
}

/// Returns the methods in `Allow`, except OPTIONS and HEAD.
fn allowed_methods(response: &ApiResponse) -> BTreeSet<String> {
    assert_eq!(response.status, 405, "{}", response.text());
    let methods = response.header("allow").split(", ").map(str::to_owned);
    methods.filter(|method| method != "OPTIONS" && method != "HEAD").collect()
}

#[tokio::test]
async fn each_service_has_exactly_its_documented_operations() {
    let world = World::shared().await;
    let document = read_document(&world).await;
    let paths: BTreeSet<&str> =
        document.operations().values().map(|one| one.path.as_str()).collect();
    for path in paths {
        // At list-api, this path is a message ID.
        if path == "/v1/messages/batch" {
            continue;
        }
        let request_path = path.replace(['{', '}'], "");
        for (service, other) in [(APIS[0], APIS[1]), (APIS[1], APIS[0])] {
            let send = async |method: &str| {
                let method = method.parse().expect("a method");
                ApiResponse::send(world.http.request(method, world.url(service, &request_path)))
                    .await
            };
            let own = document.methods_of(path, service);
            let others = document.methods_of(path, other);
            // A method that neither service has is rejected with the methods of both.
            assert_eq!(
                allowed_methods(&send("PATCH").await),
                &own | &others,
                "{path} of {service}"
            );
            // A method of the other service only.
            for method in others.difference(&own) {
                let response = send(method).await;
                if own.is_empty() {
                    response.expect_problem(404, "not_found");
                } else {
                    assert_eq!(allowed_methods(&response), own, "{method} {path} of {service}");
                }
            }
        }
    }
}

/// The services can register only the paths of the table.
#[tokio::test]
async fn every_path_is_documented() {
    let document = read_document(&World::shared().await).await;
    for route in ROUTES {
        let at = format!("/paths/{}", escape(route.path));
        assert!(!document.at(&at).is_null(), "{}", route.path);
    }
}

#[tokio::test]
async fn every_example_matches_its_schema() {
    let document = read_document(&World::shared().await).await;
    let mut checked = 0;
    let mut check_examples = |at: &str, content: &Value| {
        for (kind, media_type) in members(content) {
            let at = format!("{at}/{}", escape(kind));
            let examples = members(&media_type["examples"]).map(|(_, example)| &example["value"]);
            let mut any = false;
            for example in examples.chain(media_type.get("example")) {
                let checked = document.check_value(&format!("{at}/schema"), example);
                assert_eq!(checked, Ok(()), "{example}");
                any = true;
            }
            assert!(any, "{at} has no example");
            checked += 1;
        }
    };
    for (path, item) in members(&document.json["paths"]) {
        for (method, operation) in members(item) {
            let at = format!("/paths/{}/{method}", escape(path));
            check_examples(
                &format!("{at}/requestBody/content"),
                &operation["requestBody"]["content"],
            );
            for (status, response) in members(&operation["responses"]) {
                check_examples(&format!("{at}/responses/{status}/content"), &response["content"]);
            }
        }
    }
    for (name, response) in members(&document.json["components"]["responses"]) {
        check_examples(&format!("/components/responses/{name}/content"), &response["content"]);
    }
    assert!(checked > 30, "{checked}");
}

#[tokio::test]
async fn snapshot_matches_its_schema() {
    let snapshot = Snapshot {
        result: RunResult::Success,
        generated_at: Timestamp::from_millis(1_795_201_620_000),
        cities: 1,
        users: 2,
        messages: MessageCounts { total: 3, last_hour: 2, last_minute: 1 },
        top_cities: vec![CityCount { city: "New York".into(), state: None, messages: 3 }],
        plays: PlayCounts {
            total: 5,
            videos: 2,
            top: vec![VideoCount { video_id: "intro".into(), count: 4 }],
        },
    };
    let snapshot = serde_json::to_value(snapshot).expect("valid JSON");
    let document = read_document(&World::shared().await).await;
    assert_eq!(document.check_value("/components/schemas/Snapshot", &snapshot), Ok(()));
}

#[tokio::test]
async fn documented_and_actual_responses_are_the_same() {
    let world = World::shared().await;
    let message =
        json!({"username": "fred", "text": "for readers", "data": {"a": [1.0]}, "ttl": 600});
    let id = message_id(&world.post_message(&message).await).to_owned();
    let video = "openapi/played".to_owned();
    world.play(&[&video]).await;
    world.wait_for_count(&video, 1).await;
    let document = read_document(&world).await;
    let recorder = Recorder::start(world, document).await;
    let cases = [
        cases::for_writers(),
        cases::for_readers(&id),
        cases::for_counts(&video),
        cases::for_hosts(),
        cases::for_stats(),
        cases::for_services(),
    ];
    let cases: Vec<Case> = cases.concat();
    let wrong: Vec<String> = stream::iter(cases)
        .map(|case| recorder.run(case))
        .buffer_unordered(CONCURRENT_CASES)
        .filter_map(|outcome| std::future::ready(outcome.err()))
        .collect()
        .await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    let mut missing = recorder.document.outcomes();
    for outcome in recorder.outcomes() {
        missing.remove(&outcome);
    }
    missing.retain(|(_, status, code)| !UNTESTED.contains(&(*status, code)));
    assert!(missing.is_empty(), "documented, but not returned: {missing:#?}");
}
