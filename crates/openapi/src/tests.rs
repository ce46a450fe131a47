//! Checks that the document is consistent with the routes and with itself.

use std::collections::{BTreeMap, BTreeSet};

use mayfly_core::{
    IdGenerator, NewMessage, Timestamp, limits,
    stats::{TOP_CITIES_MAX, TOP_VIDEOS_MAX},
};
use mayfly_http::routes::{ROUTES, RouteAccess};
use mayfly_runtime::Settings;
use serde_json::Value;

use crate::build_document;

fn build(ingest_url: &str, list_url: &str) -> Value {
    build_with(&[("MAYFLY_PUBLIC__INGEST_URL", ingest_url), ("MAYFLY_PUBLIC__LIST_URL", list_url)])
}

fn build_with(env: &[(&str, &str)]) -> Value {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let settings = Settings::from_layers(None, env).expect("valid settings");
    serde_json::from_str(&build_document(&settings)).expect("valid JSON")
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

/// Returns the names of the security schemes that an operation accepts. An empty requirement has an
/// empty name.
fn security_of(operation: &Value) -> Vec<&str> {
    let requirements = operation["security"].as_array().into_iter().flatten();
    let names = requirements.map(|one| {
        let names: Vec<_> = one.as_object().expect("an object").keys().collect();
        assert!(names.len() <= 1, "{one}");
        names.first().map_or("", |name| name.as_str())
    });
    names.collect()
}

#[test]
fn security_of_an_operation_is_the_access_in_the_table_of_routes() {
    let document = build("", "");
    for (path, method, operation) in operations(&document) {
        let route = ROUTES.iter().find(|route| route.path == path).expect("the path is a route");
        let access = route.access(&method.to_uppercase()).expect("the route has the method");
        let (schemes, statuses): (&[&str], &[&str]) = match access {
            RouteAccess::Public => (&[], &[]),
            RouteAccess::KeyParameter => (&["ApiKeyParameter"], &["401", "429", "503"]),
            RouteAccess::Scope(..) => {
                (&["ApiKey", "ApiKeyHeader", "Token"], &["401", "403", "429", "503"])
            }
        };
        assert_eq!(security_of(operation), schemes, "{method} {path}");
        let responses = &operation["responses"];
        for status in statuses {
            assert!(responses.get(status).is_some(), "{method} {path} does not return {status}");
        }
        assert_eq!(responses.get("401").is_some(), !schemes.is_empty(), "{method} {path}");
        for scheme in schemes {
            let schemes = &document["components"]["securitySchemes"];
            assert!(schemes.get(scheme).is_some(), "{scheme}");
        }
        if let RouteAccess::Scope(scope, _) = access {
            assert_eq!(operation["security"][0]["ApiKey"][0], scope.as_str(), "{method} {path}");
            let text = operation["description"].as_str().unwrap_or_default();
            let rights = format!("Requires an API key with the scope `{}`", scope.as_str());
            assert!(text.contains(&rights), "{method} {path}: {text}");
        }
    }
}

#[test]
fn credentials_are_optional_for_anonymous_scopes_and_ignored_in_the_mode_open() {
    let document = build_with(&[("MAYFLY_AUTH__ANONYMOUS", "publish")]);
    let post = &document["paths"]["/v1/messages"]["post"];
    assert_eq!(security_of(post), ["ApiKey", "ApiKeyHeader", "Token", ""]);
    let get = &document["paths"]["/v1/messages"]["get"];
    assert_eq!(security_of(get), ["ApiKey", "ApiKeyHeader", "Token"]);
    let document = build_with(&[("MAYFLY_AUTH__MODE", "open")]);
    for (path, method, operation) in operations(&document) {
        let expected: &[&str] = match path.as_str() {
            "/api/v1.0/increasingconcurrents" => &["ApiKeyParameter"],
            _ => &[],
        };
        assert_eq!(security_of(operation), expected, "{method} {path}");
        assert_eq!(operation["responses"].get("401").is_some(), !expected.is_empty(), "{path}");
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
