//! The document of both APIs, held against what they answer.

mod cases;
mod document;
mod recorder;
mod request;

use std::{collections::BTreeSet, fs, path::Path};

use futures_util::{StreamExt, stream};
use mayfly_core::{
    Timestamp,
    frame::VideoCount,
    snapshot::{CityCount, MessageCounts, PlayCounts, RunResult, Snapshot},
};
use mayfly_stack::Service;
use mayfly_tests::{Answer, World, id_of};
use serde_json::{Value, json};

use self::{
    document::{Document, escape, members},
    recorder::{Case, Recorder},
};

const APIS: [Service; 2] = [Service::IngestApi, Service::ListApi];
/// Cases that run at the same time.
const CASES_AT_ONCE: usize = 8;
/// What the document names, and no test can bring about in a moment: ten thousand requests that wait for Redis at once.
const NOT_TRIED: [(&str, u16, &str); 3] = [
    ("get_message", 503, "overloaded"),
    ("get_chat", 503, "overloaded"),
    ("delete_message", 503, "overloaded"),
];

async fn read_document(world: &World) -> Document {
    let answer = Answer::of(world.http.get(world.list("/openapi.json"))).await;
    Document::of(answer.expect(200))
}

#[tokio::test]
async fn both_apis_serve_the_same_document() {
    let world = World::shared().await;
    let mut served = Vec::new();
    for service in APIS {
        let url = world.url(service, "/openapi.json");
        let whole = Answer::of(world.http.get(&url)).await;
        assert_eq!(whole.expect(200)["openapi"], "3.1.0");
        let small = Answer::of(world.http.get(&url).header("accept-encoding", "gzip")).await;
        assert_eq!(small.header("content-encoding"), "gzip");
        assert!(small.body.len() * 5 < whole.body.len(), "{}", small.body.len());
        let head = Answer::of(world.http.head(&url)).await;
        assert_eq!(head.header("content-length"), whole.body.len().to_string());
        let known = world.http.get(&url).header("if-none-match", whole.header("etag"));
        assert_eq!(Answer::of(known).await.status, 304);
        served.push(whole.body);
    }
    assert_eq!(served[0], served[1]);
    let info = serde_json::from_slice::<Value>(&served[0]).expect("it is JSON")["info"].take();
    assert_eq!(info["license"]["identifier"], "Apache-2.0");
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn every_operation_names_the_public_address_of_who_answers_it() {
    let world = World::shared().await;
    let document = read_document(&world).await;
    for (path, item) in members(&document.json["paths"]) {
        for (method, operation) in members(item) {
            for server in operation["servers"].as_array().expect("there are some") {
                let name = server["description"].as_str().expect("it has a name");
                let service = APIS.into_iter().find(|service| service.name() == name);
                let service = service.unwrap_or_else(|| panic!("{method} {path}: {name}"));
                assert_eq!(server["url"], world.url(service, ""), "{method} {path}");
            }
        }
    }
}

/// What an answer names as allowed, beside what goes with every path and with every GET that does not write.
fn allowed(answer: &Answer) -> BTreeSet<String> {
    assert_eq!(answer.status, 405, "{}", answer.text());
    let methods = answer.header("allow").split(", ").map(str::to_owned);
    methods.filter(|method| method != "OPTIONS" && method != "HEAD").collect()
}

#[tokio::test]
async fn each_service_knows_the_operations_that_the_document_says_it_answers_and_no_other() {
    let world = World::shared().await;
    let document = read_document(&world).await;
    let paths: BTreeSet<&str> =
        document.operations().values().map(|one| one.path.as_str()).collect();
    for path in paths {
        // To list-api this is a message by its id.
        if path == "/v1/messages/batch" {
            continue;
        }
        let sent = path.replace(['{', '}'], "");
        for (service, other) in [(APIS[0], APIS[1]), (APIS[1], APIS[0])] {
            let ask = async |method: &str| {
                let method = method.parse().expect("a method");
                Answer::of(world.http.request(method, world.url(service, &sent))).await
            };
            let own = document.methods_of(path, service);
            let others = document.methods_of(path, other);
            // What nobody answers is told with all that one of them does.
            assert_eq!(allowed(&ask("PATCH").await), &own | &others, "{path} of {service}");
            // What only the other one answers came to the wrong one.
            for method in others.difference(&own) {
                let answer = ask(method).await;
                if own.is_empty() {
                    answer.expect_problem(404, "not_found");
                } else {
                    assert_eq!(allowed(&answer), own, "{method} {path} of {service}");
                }
            }
        }
    }
}

/// Every path that a service puts on its server, as its code has it.
fn paths_in_the_code() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bins");
    let texts = APIS.map(|service| {
        let file = root.join(service.name()).join("src/routes/mod.rs");
        fs::read_to_string(file).expect("a service has routes")
    });
    let quoted = texts.iter().flat_map(|text| text.split('"').skip(1).step_by(2));
    quoted.filter(|text| text.starts_with('/')).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_path_that_a_service_has_is_in_the_document() {
    let document = read_document(&World::shared().await).await;
    let paths = paths_in_the_code();
    assert!(paths.len() > 12, "{paths:?}");
    for path in paths {
        assert!(!document.at(&format!("/paths/{}", escape(&path))).is_null(), "{path}");
    }
}

#[tokio::test]
async fn every_example_is_as_its_schema_says() {
    let document = read_document(&World::shared().await).await;
    let mut checked = 0;
    let mut look = |at: &str, content: &Value| {
        for (kind, form) in members(content) {
            let at = format!("{at}/{}", escape(kind));
            let examples = members(&form["examples"]).map(|(_, example)| &example["value"]);
            let mut any = false;
            for example in examples.chain(form.get("example")) {
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
            look(&format!("{at}/requestBody/content"), &operation["requestBody"]["content"]);
            for (status, answer) in members(&operation["responses"]) {
                look(&format!("{at}/responses/{status}/content"), &answer["content"]);
            }
        }
    }
    for (name, answer) in members(&document.json["components"]["responses"]) {
        look(&format!("/components/responses/{name}/content"), &answer["content"]);
    }
    assert!(checked > 30, "{checked}");
}

#[tokio::test]
async fn a_snapshot_is_as_the_document_says() {
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
    let snapshot = serde_json::to_value(snapshot).expect("it is JSON");
    let document = read_document(&World::shared().await).await;
    assert_eq!(document.check_value("/components/schemas/Snapshot", &snapshot), Ok(()));
}

#[tokio::test]
async fn every_answer_of_the_document_is_given_and_every_answer_given_is_in_the_document() {
    let world = World::shared().await;
    let sent = json!({"username": "fred", "text": "for readers", "data": {"a": [1.0]}, "ttl": 600});
    let id = id_of(&world.post_message(&sent).await).to_owned();
    let video = "openapi/played".to_owned();
    world.play(&[&video]).await;
    world.until_counted(&video, 1).await;
    let document = read_document(&world).await;
    let recorder = Recorder::start(world, document).await;
    let cases = [
        cases::of_writers(),
        cases::of_readers(&id),
        cases::of_counts(&video),
        cases::of_hosts(),
        cases::of_stats(),
        cases::of_services(),
    ];
    let cases: Vec<Case> = cases.concat();
    let wrong: Vec<String> = stream::iter(cases)
        .map(|case| recorder.go_through(case))
        .buffer_unordered(CASES_AT_ONCE)
        .filter_map(|outcome| std::future::ready(outcome.err()))
        .collect()
        .await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    let mut missing = recorder.document.outcomes();
    for seen in recorder.seen() {
        missing.remove(&seen);
    }
    missing.retain(|(id, status, code)| !NOT_TRIED.contains(&(id, *status, code)));
    assert!(missing.is_empty(), "documented, and not seen: {missing:#?}");
}
