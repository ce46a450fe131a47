//! Checks that the document is consistent with the routes and with itself.

use std::collections::{BTreeMap, BTreeSet};

use mayfly_core::{
    IdGenerator, NewMessage, Timestamp, limits,
    stats::{TOP_CITIES_MAX, TOP_VIDEOS_MAX},
};
use mayfly_http::routes::ROUTES;
use mayfly_runtime::settings::PublicSettings;
use serde_json::Value;

use crate::build_document;

fn build(ingest_url: &str, list_url: &str) -> Value {
    let document = build_document(&PublicSettings {
        ingest_url: ingest_url.to_owned(),
        list_url: list_url.to_owned(),
        live_url: String::new(),
    });
    serde_json::from_str(&document).expect("valid JSON")
}

fn operations(document: &Value) -> Vec<(&String, &String, &Value)> {
    let paths = document["paths"].as_object().expect("there are paths");
    paths
        .iter()
        .flat_map(|(path, item)| {
            let item = item.as_object().expect("a path has operations");
            item.iter().map(move |(method, operation)| (path, method, operation))
        })
        .collect()
}

#[test]
fn document_has_the_paths_and_methods_of_the_routes() {
    let document = build("", "");
    let mut found: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (path, method, _) in operations(&document) {
        found.entry(path).or_default().insert(method.to_uppercase());
    }
    let expected: BTreeMap<&str, BTreeSet<String>> = ROUTES
        .iter()
        .map(|route| {
            let methods =
                route.methods.split(", ").filter(|method| !["HEAD", "OPTIONS"].contains(method));
            (route.path, methods.map(str::to_owned).collect())
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn first_server_of_an_operation_matches_the_route() {
    let document = build("https://in.example.org", "https://out.example.org");
    for (path, method, operation) in operations(&document) {
        let route = ROUTES.iter().find(|route| route.path == path).expect("the path is a route");
        let is_ingest =
            route.ingest_methods.split(", ").any(|one| one.eq_ignore_ascii_case(method));
        let service = if is_ingest { "ingest-api" } else { "list-api" };
        assert_eq!(operation["servers"][0]["description"], service, "{method} {path}");
    }
}

#[test]
fn every_operation_has_an_id_a_known_tag_and_a_summary() {
    let document = build("", "");
    let tags: BTreeSet<&str> = document["tags"]
        .as_array()
        .expect("there are tags")
        .iter()
        .filter_map(|tag| tag["name"].as_str())
        .collect();
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        assert!(operation["summary"].is_string(), "{method} {path}");
        assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{method} {path}");
        assert!(
            operation["tags"][0].as_str().is_some_and(|tag| tags.contains(tag)),
            "{method} {path}"
        );
        assert!(ids.insert(operation["operationId"].as_str().expect("an id")), "{method} {path}");
    }
}

#[test]
fn servers_are_public_urls_or_the_origin() {
    let server = |document: &Value, path: &str, method: &str| {
        let servers = document["paths"][path][method]["servers"].as_array().cloned();
        let urls = servers.into_iter().flatten().map(|server| server["url"].clone());
        urls.filter_map(|url| url.as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let local = build("", "");
    let public = build("https://in.example.org", "https://out.example.org/list");
    assert_eq!(server(&local, "/v1/messages", "post"), ["/"]);
    assert_eq!(server(&local, "/health", "get"), ["/"]);
    assert_eq!(server(&public, "/v1/messages", "post"), ["https://in.example.org"]);
    assert_eq!(server(&public, "/v1/messages", "get"), ["https://out.example.org/list"]);
    assert_eq!(
        server(&public, "/health", "get"),
        ["https://out.example.org/list", "https://in.example.org"]
    );
}

#[test]
fn every_reference_resolves() {
    let document = build("", "");
    let mut todo = vec![&document];
    let mut seen = 0;
    while let Some(value) = todo.pop() {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let pointer = reference.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{reference}");
            seen += 1;
        }
        match value {
            Value::Object(members) => todo.extend(members.values()),
            Value::Array(items) => todo.extend(items),
            _ => {}
        }
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn derived_schemas_have_the_limits_of_the_types() {
    let document = build("", "");
    let max_items = |schema: &str, property: &str| {
        document["components"]["schemas"][schema]["properties"][property]["maxItems"].as_u64()
    };
    assert_eq!(max_items("Snapshot", "top_cities"), Some(TOP_CITIES_MAX.into()));
    assert_eq!(max_items("PlayCounts", "top"), Some(TOP_VIDEOS_MAX.into()));
    assert_eq!(max_items("HostPages", "pages"), Some(limits::SAMPLE_PAGES_MAX as u64));
    assert_eq!(max_items("Rising", "pages"), Some(limits::SAMPLE_PAGES_MAX as u64));
    let hours = limits::HOURLY_RETENTION.as_secs() / 3_600;
    assert_eq!(max_items("History", "hours"), Some(hours));
}

/// Every field of an accepted message is always present. No field of a new message is required.
#[test]
fn message_schemas_have_the_fields_of_the_types() {
    let document = build("", "");
    let schemas = &document["components"]["schemas"];
    let message = NewMessage::from_json(r#"{"text":"x"}"#).expect("a valid message");
    let now = Timestamp::from_millis(0);
    let json = message.accept(IdGenerator::default().next_id(now), now).to_json();
    let json: serde_json::Map<String, Value> = serde_json::from_slice(&json).expect("valid JSON");
    let fields: BTreeSet<&str> = json.keys().map(String::as_str).collect();
    let required = schemas["Message"]["required"].as_array().expect("an array");
    assert_eq!(required.iter().filter_map(Value::as_str).collect::<BTreeSet<_>>(), fields);
    let body = &schemas["NewMessage"]["allOf"][0];
    assert_eq!(body["additionalProperties"], false);
    assert!(body.get("required").is_none(), "{body}");
    let sent: BTreeSet<&str> =
        body["properties"].as_object().expect("an object").keys().map(String::as_str).collect();
    let assigned = ["created_at", "expires_at", "id"];
    let expected: BTreeSet<&str> =
        fields.into_iter().filter(|field| !assigned.contains(field)).chain(["ttl"]).collect();
    assert_eq!(sent, expected);
}
