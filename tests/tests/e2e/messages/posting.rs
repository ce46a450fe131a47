//! The write routes: accepted requests, responses and stored messages.

use std::time::Duration;

use mayfly_stack::Service;
use mayfly_tests::{
    ApiResponse, DEFAULT_TIMEOUT, Setup, World, eventually, message_id, message_ids, with_slack,
};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

async fn post(world: &World, path: &str, body: &Value) -> ApiResponse {
    ApiResponse::send(world.http.post(world.ingest_url(path)).json(body)).await
}

/// Returns each write route: name, request, expected status and path of `Location`.
fn write_routes(world: &World) -> Vec<(&'static str, RequestBuilder, u16, &'static str)> {
    let url = "username=Fred&city=New+York&state=NY&message=Yo+what+up!";
    let get = |path: &str| world.http.get(world.ingest_url(path));
    let post = |path: &str| world.http.post(world.ingest_url(path));
    let form = |path: &str| {
        post(path).header("content-type", "application/x-www-form-urlencoded").body(url)
    };
    let chat = json!({"username": "Fred", "text": "Yo what up!", "timeout": 300});
    vec![
        (
            "message",
            post("/v1/messages").json(&json!({"text": "Yo what up!"})),
            202,
            "/v1/messages",
        ),
        ("write, GET", get(&format!("/message/write?{url}")), 202, "/v1/messages"),
        ("write/, GET", get(&format!("/message/write/?{url}")), 202, "/v1/messages"),
        ("write, form", form("/message/write"), 202, "/v1/messages"),
        ("write/, form", form("/message/write/"), 202, "/v1/messages"),
        ("write, POST and query", post(&format!("/message/write?{url}")), 202, "/v1/messages"),
        ("chat", post("/chat").json(&chat), 201, "/chat"),
        ("chat/", post("/chat/").json(&chat), 201, "/chat"),
        ("dummy", post("/dummy").json(&json!({"any": ["thing"]})), 202, "/v1/messages"),
    ]
}

#[tokio::test]
async fn message_of_each_write_route_is_readable_immediately_and_listed_within_one_second() {
    let world = World::shared().await;
    let (_, start) = world.list_messages_after(None, 1_000).await;
    let mut posted = Vec::new();
    for (name, request, status, path) in write_routes(&world) {
        let response = ApiResponse::send(request).await;
        let message = response.expect_status(status);
        let location = world.list_url(&format!("{path}/{}", message_id(&message)));
        assert_eq!(response.header("location"), location, "{name}");
        assert_eq!(
            ApiResponse::send(world.http.get(&location)).await.expect_status(200),
            message,
            "{name}"
        );
        posted.push(message);
    }
    let listed =
        eventually(with_slack(Duration::from_secs(1)), "all messages are listed", async || {
            let (all, _) = world.list_messages_after(start.as_deref(), 1_000).await;
            let (found, missing): (Vec<_>, Vec<_>) =
                posted.iter().cloned().partition(|one| all.contains(one));
            if missing.is_empty() { Ok(found) } else { Err((missing, all.len())) }
        })
        .await;
    let ids = message_ids(&listed).join("','");
    let stored = format!("SELECT count(*) FROM messages WHERE id IN ('{ids}')");
    assert_eq!(
        world.query_count(&stored).await,
        i64::try_from(posted.len()).expect("fits in the integer type")
    );
}

#[tokio::test]
async fn message_write_accepts_query_or_form_and_requires_all_four_fields() {
    let world = World::shared().await;
    let complete = "username=Fred%C3%A4+%2B&city=New+York&state=N%20Y&message=Yo+what+up!+100%25";
    for path in ["/message/write", "/message/write/"] {
        let query = world.ingest_url(&format!("{path}?{complete}"));
        let form = world.http.post(world.ingest_url(path));
        let form = form.header("content-type", "application/x-www-form-urlencoded").body(complete);
        for request in [world.http.get(&query), world.http.post(&query), form] {
            let message = ApiResponse::send(request).await.expect_status(202);
            assert_eq!(message["username"], "Fredä +");
            assert_eq!(message["city"], "New York");
            assert_eq!(message["state"], "N Y");
            assert_eq!(message["text"], "Yo what up! 100%");
            assert_eq!((&message["channel"], &message["data"]), (&json!("lobby"), &Value::Null));
        }
        for missing in ["username", "city", "state", "message"] {
            let parts = complete.split('&').filter(|part| !part.starts_with(missing));
            let url = world.ingest_url(&format!("{path}?{}", parts.collect::<Vec<_>>().join("&")));
            let fields =
                ApiResponse::send(world.http.get(url)).await.expect_problem(400, "invalid_field");
            assert_eq!(fields, [missing]);
        }
        for wrong in ["&text=x", "&state=NY"] {
            let url = world.ingest_url(&format!("{path}?{complete}{wrong}"));
            ApiResponse::send(world.http.get(url)).await.expect_problem(400, "invalid_field");
        }
    }
}

#[tokio::test]
async fn chat_requires_username_and_text_and_returns_201() {
    let world = World::shared().await;
    for path in ["/chat", "/chat/"] {
        let chat = json!({"username": "chatter", "text": "hi", "timeout": 0});
        let message = post(&world, path, &chat).await.expect_status(201);
        assert_eq!(message["expires_at"], message["created_at"], "expired at creation");
        for (wrong, field) in [
            (json!({"text": "hi"}), "username"),
            (json!({"username": "chatter"}), "text"),
            (json!({"username": "chatter", "text": "hi", "timeout": 604_801}), "timeout"),
            (json!({"username": "chatter", "text": "hi", "timeout": -1}), "timeout"),
            (json!({"username": "chatter", "text": "hi", "ttl": 1}), "ttl"),
        ] {
            let fields = post(&world, path, &wrong).await.expect_problem(400, "invalid_field");
            assert_eq!(fields, [field], "{wrong}");
        }
    }
}

#[tokio::test]
async fn dummy_stores_any_json_document_as_data_on_channel_dummy() {
    let world = World::shared().await;
    for document in ["null", "true", "1.50", "\"text\"", "[]", "{}", "[1,{\"b\":1,\"a\":2}]"] {
        let request = world.http.post(world.ingest_url("/dummy")).body(document);
        let response = ApiResponse::send(request.header("content-type", "application/json")).await;
        let message = response.expect_status(202);
        assert_eq!(message["channel"], "dummy");
        assert!(
            response.text().contains(&format!("\"data\":{document},\"created_at\"")),
            "{message}"
        );
        assert_eq!((&message["username"], &message["text"]), (&Value::Null, &Value::Null));
    }
    let request = world.http.post(world.ingest_url("/dummy")).body("{\"a\":");
    let request = request.header("content-type", "application/json");
    ApiResponse::send(request).await.expect_problem(400, "invalid_json");
}

/// A document whose digits, escapes, key order and duplicate keys must be preserved.
const DOCUMENT: &str = r#"{"z":1.10,"a":1E+2,"long":123456789012345678901234567890,"minus":-0.0,"small":1e-7,"text":"\u00e4\/ä\n\ud83d\ude00","twice":1,"twice":2,"in":[{"b":[],"a":{}}],"yes":true,"nil":null}"#;

#[tokio::test]
async fn data_is_returned_byte_for_byte_by_every_route() {
    let world = World::shared().await;
    let member = format!("\"data\":{DOCUMENT},\"created_at\"");
    let get =
        async |path: String| ApiResponse::send(world.http.get(world.list_url(&path))).await.text();
    for ttl in [60, 0] {
        let body = format!(
            "{{\"username\":\"digits\",\"channel\":\"digits\",\"ttl\":{ttl},\"data\": {DOCUMENT} }}"
        );
        let request = world.http.post(world.ingest_url("/v1/messages")).body(body);
        let response = ApiResponse::send(request.header("content-type", "application/json")).await;
        let message = response.expect_status(202);
        let id = message_id(&message);
        assert!(response.text().contains(&member), "{}", response.text());
        assert_eq!(get(format!("/v1/messages/{id}")).await, response.text(), "from Redis");
        eventually(DEFAULT_TIMEOUT, "the message is stored", async || {
            if world.is_waiting(id).await { Err("waiting") } else { Ok(()) }
        })
        .await;
        assert_eq!(
            get(format!("/v1/messages/{id}")).await,
            response.text(),
            "from Redis or Postgres"
        );
        let inbox = get("/v1/users/digits/messages".into()).await;
        assert!(inbox.contains(&member), "{inbox}");
        let listed = get("/v1/messages?channel=digits&order=desc&limit=1".into()).await;
        assert!(listed.contains(&response.text()), "{listed}");
        let query = "SELECT data::text FROM messages WHERE id = $1::text::uuid";
        let row = world.postgres().await.query_one(query, &[&id]).await.expect("the row exists");
        assert_eq!(row.get::<_, &str>(0), DOCUMENT);
    }
}

#[tokio::test]
async fn message_has_default_fields_and_expires_at_is_created_at_plus_ttl() {
    let world = World::shared().await;
    let message = world.post_message(&json!({"text": "x"})).await;
    let names: Vec<_> = message.as_object().expect("an object").keys().cloned().collect();
    let mut expected = ["id", "channel", "username", "text", "city", "state", "data"].to_vec();
    expected.extend(["created_at", "expires_at"]);
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!(message["channel"], "lobby");
    let id: uuid::Uuid = message_id(&message).parse().expect("a UUID");
    assert_eq!(id.get_version_num(), 7);
    for (ttl, seconds) in [(None, 60), (Some(0), 0), (Some(604_800), 604_800)] {
        let message = world.post_message(&json!({"text": "x", "ttl": ttl})).await;
        let time = |name: &str| {
            let text = message[name].as_str().expect("a time");
            assert_eq!((text.len(), text.ends_with('Z')), (24, true), "{text}");
            chrono::DateTime::parse_from_rfc3339(text).expect("RFC 3339")
        };
        assert_eq!((time("expires_at") - time("created_at")).num_seconds(), seconds);
    }
}

#[tokio::test]
async fn full_inbox_returns_409_and_accepts_nothing() {
    let setup =
        Setup::new().set("MAYFLY_INBOX__MESSAGES_MAX", "3").scale(Service::PersistWorker, 0);
    let world = setup.start().await;
    let fred = json!({"username": "fred", "text": "x"});
    for _ in 0..3 {
        world.post_message(&fred).await;
    }
    post(&world, "/v1/messages", &fred).await.expect_problem(409, "inbox_full");
    post(&world, "/chat", &fred).await.expect_problem(409, "inbox_full");
    let both = json!([{"username": "ann", "text": "x"}, fred]);
    post(&world, "/v1/messages/batch", &both).await.expect_problem(409, "inbox_full");
    assert_eq!(world.get("/v1/users/ann/messages").await.1["items"], json!([]));
    // Messages without an inbox, or for another one, are not affected.
    world.post_message(&json!({"text": "x"})).await;
    world.post_message(&json!({"username": "fred", "text": "x", "ttl": 0})).await;
    world.post_message(&json!({"username": "ann", "text": "x"})).await;
    assert_eq!(world.take("fred").await.len(), 3);
    world.post_message(&fred).await;
}

#[tokio::test]
async fn full_queue_returns_503_overloaded_until_the_worker_drains_it() {
    let world = Setup::new().set("MAYFLY_QUEUE__DEPTH_MAX", "5").start().await;
    world.stack.stop(Service::PersistWorker).await.expect("the worker stops");
    let message = json!({"username": "fred", "text": "x"});
    for _ in 0..3 {
        world.post_message(&message).await;
    }
    let three = json!([message, message, message]);
    let rejected = post(&world, "/v1/messages/batch", &three).await;
    rejected.expect_problem(503, "overloaded");
    assert!(rejected.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0));
    world.post_message(&message).await;
    world.post_message(&message).await;
    post(&world, "/v1/messages", &message).await.expect_problem(503, "overloaded");
    assert_eq!(
        world.get("/v1/users/fred/messages").await.1["items"].as_array().map(Vec::len),
        Some(5)
    );
    world.stack.start(Service::PersistWorker).await.expect("the worker starts");
    eventually(DEFAULT_TIMEOUT, "the queue has room again", async || {
        let response = post(&world, "/v1/messages", &message).await;
        if response.status == 202 { Ok(()) } else { Err(response.text()) }
    })
    .await;
}
