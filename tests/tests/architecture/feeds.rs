//! The documents and the browser client name the existing feeds and message fields.

use std::{collections::BTreeSet, fs};

use mayfly_core::{Feed, IdGenerator, NewMessage, StateFeed, Timestamp};
use serde_json::Value;

use super::root;

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect("the file exists")
}

/// Returns the texts in quotes between two marks.
fn quoted(text: &str, start: &str, end: &str, quote: char) -> BTreeSet<String> {
    let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("{start} is missing"));
    let (list, _) = rest.split_once(end).unwrap_or_else(|| panic!("{end} is missing"));
    list.split(quote).skip(1).step_by(2).map(str::to_owned).collect()
}

fn asyncapi() -> Value {
    serde_json::from_str(&read("docs/asyncapi.json")).expect("valid JSON")
}

#[test]
fn feeds_are_listed_in_client_and_documents() {
    let feeds: BTreeSet<_> = Feed::ALL.map(|feed| feed.as_str().to_owned()).into();
    let script = quoted(&read("web/client/src/names.js"), "const FEEDS = [", "]", '\'');
    assert_eq!(script, feeds, "web/client/src/names.js");
    let types = quoted(&read("web/client/mayfly.d.ts"), "export type Feed =", ";", '\'');
    assert_eq!(types, feeds, "web/client/mayfly.d.ts");
    let mut api = quoted(&read("docs/API.md"), "| `feed` |", "Repeatable", '`');
    api.remove("feed");
    assert_eq!(api, feeds, "docs/API.md");
    let document = asyncapi();
    let names = document["components"]["schemas"]["feed"]["enum"].as_array().expect("an array");
    let names: BTreeSet<_> = names.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    assert_eq!(names, feeds, "docs/asyncapi.json");
}

#[test]
fn every_state_feed_has_a_documented_frame() {
    let (document, api, types) = (asyncapi(), read("docs/API.md"), read("web/client/mayfly.d.ts"));
    for feed in StateFeed::ALL {
        let name = feed.feed().as_str();
        let frame = &document["components"]["schemas"][name]["properties"]["type"]["const"];
        assert_eq!(frame, name, "docs/asyncapi.json");
        assert!(api.contains(&format!("\n| `{name}` |")), "docs/API.md: {name}");
        assert!(types.contains(&format!("  type: '{name}';")), "web/client/mayfly.d.ts: {name}");
    }
}

#[test]
fn message_fields_are_documented() {
    let now = Timestamp::from_millis(0);
    let message = NewMessage::from_json(r#"{"text":"x"}"#).expect("a valid message");
    let message = message.accept(IdGenerator::default().next_id(now), now).to_json();
    let message: Value = serde_json::from_slice(&message).expect("valid JSON");
    let (document, api, types) = (asyncapi(), read("docs/API.md"), read("web/client/mayfly.d.ts"));
    let (_, interface) = types.split_once("export interface Message {").expect("a declaration");
    let (interface, _) = interface.split_once('}').expect("a closing brace");
    for field in message.as_object().expect("an object").keys() {
        let property = &document["components"]["schemas"]["message"]["properties"][field];
        assert!(!property.is_null(), "docs/asyncapi.json: {field}");
        assert!(api.contains(&format!("\"{field}\":")), "docs/API.md: {field}");
        assert!(interface.contains(&format!("  {field}: ")), "web/client/mayfly.d.ts: {field}");
    }
}
