//! `docs/asyncapi.json` against what is really said: every frame that it describes comes, and every
//! frame that comes is as it describes.

use std::{collections::BTreeMap, fs, path::Path};

use jsonschema::{Draft, Validator};
use mayfly_stack::Service;
use mayfly_tests::{
    Answer, PATIENCE, Setup, World, id_of,
    live::{FIN, Live, Opening, encode, opcode, sighting},
};
use redis::AsyncCommands;
use serde_json::{Value, json};

use super::say;

/// The document, with what checks the frames in it.
struct Document {
    json: Value,
    validators: BTreeMap<String, Validator>,
    /// What has come of each type.
    seen: BTreeMap<String, usize>,
}

impl Document {
    fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/asyncapi.json");
        let text = fs::read_to_string(path).expect("the document is there");
        let json: Value = serde_json::from_str(&text).expect("it is JSON");
        let messages = json["components"]["messages"].as_object().expect("it has messages");
        let validators = messages.iter().map(|(name, message)| {
            // The schemas refer to each other by their place in the document.
            let schema = json!({"allOf": [message["payload"]], "components": json["components"]});
            let options = jsonschema::options().with_draft(Draft::Draft7);
            let validator = options.should_validate_formats(true).build(&schema);
            (name.clone(), validator.expect("a schema is sound"))
        });
        Self { validators: validators.collect(), json, seen: BTreeMap::new() }
    }

    /// The types of frames that one side sends.
    fn types(&self, action: &str) -> Vec<&str> {
        let operations = self.json["operations"].as_object().expect("there are operations");
        let lists = operations.values().flat_map(|operation| {
            let own = (operation["action"] == action).then_some(&operation["messages"]);
            // A reply goes the other way.
            let reply = &operation["reply"]["messages"];
            let reply = (operation["action"] != action && !reply.is_null()).then_some(reply);
            own.into_iter().chain(reply)
        });
        let all = lists.flat_map(|list| list.as_array().expect("a list"));
        let names = all.filter_map(|one| one["$ref"].as_str()?.rsplit('/').next());
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The examples of a type.
    fn examples(&self, name: &str) -> Vec<Value> {
        let examples = self.json["components"]["messages"][name]["examples"].as_array();
        let examples = examples.unwrap_or_else(|| panic!("{name} has no examples"));
        examples.iter().map(|example| example["payload"].clone()).collect()
    }

    /// Checks a frame by what its type says, also that it has no field that is not described.
    fn check(&self, frame: &Value) -> String {
        let kind = frame["type"].as_str().expect("a frame has a type").to_owned();
        let validator = self.validators.get(&kind);
        let validator = validator.unwrap_or_else(|| panic!("{kind} is not described: {frame}"));
        let errors: Vec<_> = validator.iter_errors(frame).map(|one| one.to_string()).collect();
        assert!(errors.is_empty(), "{frame}: {errors:?}");
        let payload = &self.json["components"]["messages"][&kind]["payload"]["$ref"];
        let place = payload.as_str().and_then(|place| place.strip_prefix('#'));
        let schema = self.json.pointer(place.expect("a payload is a schema of the document"));
        let described = &schema.expect("the schema is there")["properties"];
        for field in frame.as_object().expect("a frame is an object").keys() {
            assert!(described.get(field).is_some(), "{kind}.{field} is not described");
        }
        kind
    }

    fn see(&mut self, frame: &Value) {
        let kind = self.check(frame);
        *self.seen.entry(kind).or_default() += 1;
    }

    /// Reads frames of a connection until one of this type came.
    async fn see_until(&mut self, live: &mut Live, kind: &str) -> Value {
        loop {
            let frame = live.next_frame().await;
            self.see(&frame);
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// Opens a socket.
    async fn open(&mut self, url: &str) -> (Live, Value) {
        let mut live = Live::connect(url).await;
        let hello = self.see_until(&mut live, "hello").await;
        (live, hello)
    }
}

#[test]
fn every_example_is_as_its_frame_is_described() {
    let document = Document::read();
    for name in document.validators.keys() {
        let examples = document.examples(name);
        assert!(!examples.is_empty(), "{name} has no examples");
        for example in &examples {
            assert_eq!(document.check(example), *name);
        }
    }
    let both = [document.types("send"), document.types("receive")].concat();
    assert_eq!(both.len(), document.validators.len(), "each belongs to an operation: {both:?}");
    let wrong = json!({"type": "gap", "dropped": -1, "position": "no blanks"});
    assert_eq!(document.validators["gap"].iter_errors(&wrong).count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_frame_that_is_described_comes_and_is_as_described() {
    let mut document = Document::read();
    let setup = Setup::new().with(Service::WsFanout, 1).set("MAYFLY_QUEUE__RESUME_WINDOW", "3s");
    let world = setup.set("MAYFLY_FANOUT__SLOW_CONSUMER", "drop").start().await;
    let (mut live, hello) = document.open(&world.live("channel=described&feed=messages")).await;
    let since = hello["position"].as_str().expect("it has a position");
    let resume = |since: &str| world.live(&format!("channel=described&since={since}"));

    let whole = json!({"channel": "described", "username": "fred", "text": "x", "city": "Oslo", "state": "N", "data": [1], "ttl": 600});
    let posted = world.post_message(&whole).await;
    say(&world, "described", "no more than a text").await;
    document.see_until(&mut live, "message").await;
    document.see_until(&mut live, "message").await;
    let delete = world.http.delete(world.list(&format!("/v1/messages/{}", id_of(&posted))));
    assert_eq!(Answer::of(delete).await.status, 204);
    document.see_until(&mut live, "expired").await;
    assert_eq!(document.open(&resume(since)).await.1["resumed"], true);
    for (since, reason) in [("nonsense", "unknown_position"), ("1.none.1-0", "data_lost")] {
        let (_, hello) = document.open(&resume(since)).await;
        assert_eq!((&hello["resumed"], &hello["reason"]), (&json!(false), &json!(reason)));
    }
    document.see_until(&mut live, "position").await;

    talk(&mut document, &mut live).await;
    publish_snapshot(&document, &world).await;
    let (mut stats, _) = document.open(&world.live("feed=stats")).await;
    document.see_until(&mut stats, "stats").await;
    let (mut counts, _) = document.open(&world.live("feed=plays,pulse")).await;
    publish_counts_and_pulse(&document, &world).await;
    document.see_until(&mut counts, "plays").await;
    document.see_until(&mut counts, "pulse").await;
    let (mut rising, _) = document.open(&world.live("feed=rising&host=Example.org")).await;
    let pages = [("/news", 150, Some(50)), ("/", 20, None)];
    let mut news = sighting("example.org", 7 * 60 + 5, &pages);
    news["pages"][0]["title"] = "News".into();
    world.publish_sighting(&news).await;
    let told = document.see_until(&mut rising, "rising").await;
    assert_eq!(told, document.examples("rising")[0]);
    fall_behind(&mut document, &world).await;

    let seen: Vec<_> = document.seen.keys().map(String::as_str).collect();
    assert_eq!(seen, document.types("send"), "all of them, and no others");
}

/// Says whatever a client may say; the answer to each is one of those that are described.
async fn talk(document: &mut Document, live: &mut Live) {
    for (name, operation) in document.json["operations"].clone().as_object().expect("an object") {
        if operation["action"] != "receive" {
            continue;
        }
        for example in document.examples(name) {
            live.send_text(&example.to_string()).await;
            loop {
                let answer = live.next_frame().await;
                document.see(&answer);
                let kind = answer["type"].as_str().expect("a frame has a type");
                assert_ne!(kind, "error", "{example}: {answer}");
                let replies = operation["reply"]["messages"].to_string();
                if replies.contains(&format!("/messages/{kind}\"")) {
                    break;
                }
            }
        }
    }
    let many: Vec<_> = (0..129).map(|number| format!("described-{number}")).collect();
    let many = json!({"type": "subscribe", "channels": many}).to_string();
    for (text, code) in [
        ("{", "invalid_json"),
        (r#"{"type":"publish"}"#, "invalid_field"),
        (&many, "too_many_channels"),
    ] {
        live.send_text(text).await;
        assert_eq!(document.see_until(live, "error").await["code"], code);
    }
}

/// Does as the publisher does, with the snapshot of the document.
async fn publish_snapshot(document: &Document, world: &World) {
    let snapshot = document.examples("stats")[0]["snapshot"].to_string();
    let mut redis = world.redis().await;
    redis.set::<_, _, ()>(world.key("stats"), &snapshot).await.expect("Redis answers");
    let heard = redis.publish::<_, _, usize>(world.key("feed:stats"), &snapshot).await;
    assert_eq!(heard.expect("Redis answers"), 1);
}

/// Does as the publishers do, with the counts and the pulse of the document.
async fn publish_counts_and_pulse(document: &Document, world: &World) {
    let counts = document.examples("plays")[0]["counts"].to_string();
    let mut redis = world.redis().await;
    let frames = world.key("plays:frames");
    let mut add = redis::cmd("XADD");
    add.arg(frames).arg("*").arg("counts").arg(counts);
    add.exec_async(&mut redis).await.expect("Redis answers");
    let mut pulse = document.examples("pulse")[0].clone();
    pulse.as_object_mut().expect("an object").remove("type");
    let heard = redis.publish::<_, _, usize>(world.key("feed:pulse"), pulse.to_string()).await;
    assert_eq!(heard.expect("Redis answers"), 1);
}

/// Does not read until something is dropped.
async fn fall_behind(document: &mut Document, world: &World) {
    let url = world.live("channel=described-slow");
    let opening = Opening::to(&url).receive_buffer(64 * 1024);
    let mut slow = opening.send().await.expect("it is opened");
    let data = "x".repeat(60 * 1024);
    let batch = vec![json!({"channel": "described-slow", "text": "x", "data": data}); 60];
    for _ in 0..6 {
        assert_eq!(world.post("/v1/messages/batch", &json!(batch)).await.status(), 202);
    }
    mayfly_tests::eventually(PATIENCE, "frames are dropped", async || {
        match world.fanout_metrics().await.sum("dropped_total") {
            0 => Err("none"),
            _ => Ok(()),
        }
    })
    .await;
    document.see_until(&mut slow, "gap").await;
}

#[tokio::test]
async fn the_query_and_the_close_codes_are_those_that_are_described() {
    let world = super::shared().await;
    let document = Document::read();
    let live = &document.json["channels"]["live"];
    let parameters = live["bindings"]["ws"]["query"]["properties"].as_object();
    for name in parameters.expect("there are parameters").keys() {
        let value = if name == "feed" { "stats" } else { "x" };
        Live::hello(&world.live(&format!("{name}={value}"))).await;
    }
    let codes = live["x-close-codes"].as_array().expect("there are codes");
    let described = |code: u16| {
        codes.iter().find(|one| one["code"] == code).unwrap_or_else(|| panic!("{code} is missing"))
    };
    let many: Vec<_> = (0..129).map(|number| format!("channel=c{number}")).collect();
    for (query, code) in [("nonsense=1", 4500), (&many.join("&"), 4501)] {
        let (closed, _) = Live::connect(&world.live(query)).await.next_close().await;
        assert_eq!((closed, &described(closed)["may_reconnect"]), (code, &json!(false)));
    }
    let too_long = "x".repeat(4097);
    for (frame, code) in [
        (encode(FIN | 0x3, b""), 1002),
        (encode(FIN | 0x2, b""), 1003),
        (encode(FIN | opcode::TEXT, &[0xC3, 0x28]), 1007),
        (encode(FIN | opcode::TEXT, too_long.as_bytes()), 1009),
    ] {
        let (mut live, _) = Live::hello(&world.live("channel=described")).await;
        live.send_raw(&frame).await.expect("the connection stands");
        let (closed, _) = live.next_close().await;
        assert_eq!((closed, &described(closed)["may_reconnect"]), (code, &json!(true)));
    }
}
