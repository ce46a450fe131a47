//! Compares `docs/asyncapi.json` with the frames of the server: every documented frame is sent, and
//! every frame that is sent matches its schema.

use std::{collections::BTreeMap, fs, path::Path};

use jsonschema::{Draft, Validator};
use mayfly_stack::Service;
use mayfly_tests::{
    ApiResponse, DEFAULT_TIMEOUT, Setup, World,
    live::{FIN, LiveSocket, UpgradeRequest, encode, opcode, trend_snapshot},
    message_id,
};
use redis::AsyncCommands;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::live::post_text;

/// The document and the validators of its frames.
struct Document {
    json: Value,
    validators: BTreeMap<String, Validator>,
    /// The number of frames received of each type.
    seen: BTreeMap<String, usize>,
}

impl Document {
    fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/asyncapi.json");
        let text = fs::read_to_string(path).expect("the document is readable");
        let json: Value = serde_json::from_str(&text).expect("the document is JSON");
        let messages =
            json["components"]["messages"].as_object().expect("the document has messages");
        let validators = messages.iter().map(|(name, message)| {
            // The schemas reference each other by their path in the document.
            let schema = json!({"allOf": [message["payload"]], "components": json["components"]});
            let options = jsonschema::options().with_draft(Draft::Draft7);
            let validator = options.should_validate_formats(true).build(&schema);
            (name.clone(), validator.expect("the schema is valid"))
        });
        Self { validators: validators.collect(), json, seen: BTreeMap::new() }
    }

    /// Returns the types of the frames of an action.
    fn types(&self, action: &str) -> Vec<&str> {
        let operations = self.json["operations"].as_object().expect("the document has operations");
        let lists = operations.values().flat_map(|operation| {
            let own = (operation["action"] == action).then_some(&operation["messages"]);
            // A reply has the opposite direction.
            let reply = &operation["reply"]["messages"];
            let reply = (operation["action"] != action && !reply.is_null()).then_some(reply);
            own.into_iter().chain(reply)
        });
        let all = lists.flat_map(|list| list.as_array().expect("the messages are an array"));
        let names = all.filter_map(|one| one["$ref"].as_str()?.rsplit('/').next());
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Returns the examples of a type.
    fn examples(&self, name: &str) -> Vec<Value> {
        let examples = self.json["components"]["messages"][name]["examples"].as_array();
        let examples = examples.unwrap_or_else(|| panic!("{name} has no examples"));
        examples.iter().map(|example| example["payload"].clone()).collect()
    }

    /// Validates a frame, rejects undocumented fields, and returns the type.
    fn check(&self, frame: &Value) -> String {
        let kind = frame["type"].as_str().expect("the frame has a type").to_owned();
        let validator = self.validators.get(&kind);
        let validator = validator.unwrap_or_else(|| panic!("{kind} is not documented: {frame}"));
        let errors: Vec<_> = validator.iter_errors(frame).map(|one| one.to_string()).collect();
        assert!(errors.is_empty(), "{frame}: {errors:?}");
        let payload = &self.json["components"]["messages"][&kind]["payload"]["$ref"];
        let place = payload.as_str().and_then(|place| place.strip_prefix('#'));
        let schema = self.json.pointer(place.expect("the payload references a schema"));
        let documented = &schema.expect("the schema exists")["properties"];
        for field in frame.as_object().expect("the frame is an object").keys() {
            assert!(documented.get(field).is_some(), "{kind}.{field} is not documented");
        }
        kind
    }

    fn record(&mut self, frame: &Value) {
        let kind = self.check(frame);
        *self.seen.entry(kind).or_default() += 1;
    }

    /// Validates frames until one of this type arrives.
    async fn validate_until(&mut self, live: &mut LiveSocket, kind: &str) -> Value {
        let found = timeout(DEFAULT_TIMEOUT, async {
            loop {
                let frame = live.next_frame().await;
                self.record(&frame);
                if frame["type"] == kind {
                    return frame;
                }
            }
        });
        found.await.unwrap_or_else(|_| panic!("no {kind} within {DEFAULT_TIMEOUT:?}"))
    }

    /// Opens a socket and validates `hello`.
    async fn open(&mut self, url: &str) -> (LiveSocket, Value) {
        let mut live = LiveSocket::connect(url).await;
        let hello = self.validate_until(&mut live, "hello").await;
        (live, hello)
    }
}

#[test]
fn every_example_matches_its_schema() {
    let document = Document::read();
    for name in document.validators.keys() {
        let examples = document.examples(name);
        assert!(!examples.is_empty(), "{name} has no examples");
        for example in &examples {
            assert_eq!(document.check(example), *name);
        }
    }
    let both = [document.types("send"), document.types("receive")].concat();
    assert_eq!(
        both.len(),
        document.validators.len(),
        "each message belongs to an operation: {both:?}"
    );
    let wrong = json!({"type": "gap", "dropped": -1, "position": "no spaces"});
    assert_eq!(document.validators["gap"].iter_errors(&wrong).count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_frame_is_sent_and_matches_its_schema() {
    let mut document = Document::read();
    let setup = Setup::new().scale(Service::WsFanout, 1).set("MAYFLY_QUEUE__RESUME_WINDOW", "3s");
    let world = setup.set("MAYFLY_FANOUT__SLOW_CONSUMER", "drop").start().await;
    let (mut live, hello) = document.open(&world.live_url("channel=described&feed=messages")).await;
    let since = hello["position"].as_str().expect("the frame has a position");
    let resume = |since: &str| world.live_url(&format!("channel=described&since={since}"));

    let whole = json!({"channel": "described", "username": "fred", "text": "x", "city": "Oslo", "state": "N", "data": [1], "ttl": 600});
    let posted = world.post_message(&whole).await;
    post_text(&world, "described", "only a text").await;
    document.validate_until(&mut live, "message").await;
    document.validate_until(&mut live, "message").await;
    let delete =
        world.http.delete(world.list_url(&format!("/v1/messages/{}", message_id(&posted))));
    assert_eq!(ApiResponse::send(delete).await.status, 204);
    document.validate_until(&mut live, "expired").await;
    assert_eq!(document.open(&resume(since)).await.1["resumed"], true);
    for (since, reason) in [("nonsense", "unknown_position"), ("1.none.1-0", "data_lost")] {
        let (_, hello) = document.open(&resume(since)).await;
        assert_eq!((&hello["resumed"], &hello["reason"]), (&json!(false), &json!(reason)));
    }
    document.validate_until(&mut live, "position").await;

    send_client_frames(&mut document, &mut live).await;
    send_connect_frames(&mut document, &world).await;
    publish_snapshot(&document, &world).await;
    let (mut stats, _) = document.open(&world.live_url("feed=stats")).await;
    document.validate_until(&mut stats, "stats").await;
    let (mut counts, _) = document.open(&world.live_url("feed=plays")).await;
    let (mut pulse, _) = document.open(&world.live_url("feed=pulse")).await;
    publish_counts_and_pulse(&document, &world).await;
    document.validate_until(&mut counts, "plays").await;
    document.validate_until(&mut pulse, "pulse").await;
    let (mut rising, _) = document.open(&world.live_url("feed=rising&host=Example.org")).await;
    let pages = [("/news", 150, Some(50)), ("/", 20, None)];
    let mut news = trend_snapshot("example.org", 7 * 60 + 5, &pages);
    news["pages"][0]["title"] = "News".into();
    world.publish_trend(&news).await;
    let received = document.validate_until(&mut rising, "rising").await;
    assert_eq!(received, document.examples("rising")[0]);
    fall_behind(&mut document, &world).await;

    let seen: Vec<_> = document.seen.keys().map(String::as_str).collect();
    assert_eq!(seen, document.types("send"), "exactly the documented types");
}

/// Sends every documented client frame and expects a documented reply.
async fn send_client_frames(document: &mut Document, live: &mut LiveSocket) {
    for (name, operation) in
        document.json["operations"].clone().as_object().expect("the value is an object")
    {
        // A `connect` frame starts a connection.
        if operation["action"] != "receive" || name == "connect" {
            continue;
        }
        for example in document.examples(name) {
            live.send_text(&example.to_string()).await;
            let replies = operation["reply"]["messages"].to_string();
            let received = timeout(DEFAULT_TIMEOUT, async {
                loop {
                    let answer = live.next_frame().await;
                    document.record(&answer);
                    let kind = answer["type"].as_str().expect("the frame has a type");
                    assert_ne!(kind, "error", "{example}: {answer}");
                    if replies.contains(&format!("/messages/{kind}\"")) {
                        break;
                    }
                }
            });
            received.await.unwrap_or_else(|_| panic!("{example}: no reply"));
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
        assert_eq!(document.validate_until(live, "error").await["code"], code);
    }
}

/// Opens a connection with every documented `connect` frame, and one with an invalid frame.
async fn send_connect_frames(document: &mut Document, world: &World) {
    let url = world.live_url("connect=frame");
    for example in document.examples("connect") {
        let mut live = LiveSocket::connect(&url).await;
        live.send_text(&example.to_string()).await;
        document.validate_until(&mut live, "hello").await;
    }
    let mut live = LiveSocket::connect(&url).await;
    live.send_text(r#"{"type":"ping"}"#).await;
    document.validate_until(&mut live, "error").await;
}

/// Publishes the snapshot of the document as stats-publisher does.
async fn publish_snapshot(document: &Document, world: &World) {
    let snapshot = document.examples("stats")[0]["snapshot"].to_string();
    let mut redis = world.redis().await;
    redis.set::<_, _, ()>(world.key("stats"), &snapshot).await.expect("Redis is available");
    let receivers = redis.publish::<_, _, usize>(world.key("feed:stats"), &snapshot).await;
    assert_eq!(receivers.expect("Redis is available"), 1);
}

/// Publishes the counts and the pulse of the document as the services do.
async fn publish_counts_and_pulse(document: &Document, world: &World) {
    let counts = document.examples("plays")[0]["counts"].to_string();
    let mut redis = world.redis().await;
    let frames = world.key("plays:frames");
    let mut add = redis::cmd("XADD");
    add.arg(frames).arg("*").arg("counts").arg(counts);
    add.exec_async(&mut redis).await.expect("Redis is available");
    let mut pulse = document.examples("pulse")[0].clone();
    pulse.as_object_mut().expect("the value is an object").remove("type");
    let receivers = redis.publish::<_, _, usize>(world.key("feed:pulse"), pulse.to_string()).await;
    assert_eq!(receivers.expect("Redis is available"), 1);
}

/// Stops reading until the server drops frames.
async fn fall_behind(document: &mut Document, world: &World) {
    let url = world.live_url("channel=described-slow");
    let opening = UpgradeRequest::new(&url).receive_buffer(64 * 1024);
    let mut slow = opening.send().await.expect("the socket opens");
    let data = "x".repeat(60 * 1024);
    let batch = vec![json!({"channel": "described-slow", "text": "x", "data": data}); 60];
    for _ in 0..6 {
        assert_eq!(world.post("/v1/messages/batch", &json!(batch)).await.status(), 202);
    }
    mayfly_tests::eventually(DEFAULT_TIMEOUT, "frames are dropped", async || {
        match world.fanout_metrics().await.sum("frames_dropped_total") {
            0 => Err("none"),
            _ => Ok(()),
        }
    })
    .await;
    document.validate_until(&mut slow, "gap").await;
}

#[tokio::test]
async fn documented_query_parameters_and_close_codes_are_correct() {
    let world = crate::live::shared().await;
    let document = Document::read();
    let live = &document.json["channels"]["live"];
    let parameters = live["bindings"]["ws"]["query"]["properties"].as_object();
    for name in parameters.expect("the query has parameters").keys() {
        let value = match name.as_str() {
            "feed" => "stats",
            "connect" => "frame",
            _ => "x",
        };
        let mut live = LiveSocket::connect(&world.live_url(&format!("{name}={value}"))).await;
        if name == "connect" {
            live.send_text(r#"{"type":"connect"}"#).await;
        }
        assert_eq!(live.next_frame().await["type"], "hello", "{name}");
    }
    let codes = live["x-close-codes"].as_array().expect("the channel has close codes");
    let described = |code: u16| {
        codes.iter().find(|one| one["code"] == code).unwrap_or_else(|| panic!("{code} is missing"))
    };
    let many: Vec<_> = (0..129).map(|number| format!("channel=c{number}")).collect();
    for (query, code) in [("nonsense=1", 4500), (&many.join("&"), 4501)] {
        let (closed, _) = LiveSocket::connect(&world.live_url(query)).await.next_close().await;
        assert_eq!((closed, &described(closed)["may_reconnect"]), (code, &json!(false)));
    }
    let foreign = UpgradeRequest::new(&world.live_url("")).header("origin", "https://evil.example");
    let (closed, _) = foreign.send().await.expect("the socket opens").next_close().await;
    assert_eq!((closed, &described(closed)["may_reconnect"]), (4504, &json!(false)));
    let too_long = "x".repeat(4097);
    for (frame, code) in [
        (encode(FIN | 0x3, b""), 1002),
        (encode(FIN | 0x2, b""), 1003),
        (encode(FIN | opcode::TEXT, &[0xC3, 0x28]), 1007),
        (encode(FIN | opcode::TEXT, too_long.as_bytes()), 1009),
    ] {
        let (mut live, _) =
            LiveSocket::connect_with_hello(&world.live_url("channel=described")).await;
        live.send_raw(&frame).await.expect("the connection is open");
        let (closed, _) = live.next_close().await;
        assert_eq!((closed, &described(closed)["may_reconnect"]), (code, &json!(true)));
    }
}
