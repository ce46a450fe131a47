//! Reading and taking an inbox.

use mayfly_tests::{
    ApiResponse, DEFAULT_TIMEOUT, Setup, World, eventually, message_id, message_ids,
};
use serde_json::{Value, json};

/// Posts messages to a username and returns their IDs, oldest first.
async fn fill(world: &World, username: &str, count: usize, data: &str) -> Vec<String> {
    let messages: Vec<_> = (0..count)
        .map(|index| json!({"username": username, "text": index.to_string(), "data": data}))
        .collect();
    let mut ids = Vec::new();
    for batch in messages.chunks(60) {
        let response = ApiResponse::send(
            world.http.post(world.ingest_url("/v1/messages/batch")).json(&Value::from(batch)),
        )
        .await
        .expect_status(202);
        let batch_ids = response["ids"].as_array().expect("ids").iter();
        ids.extend(batch_ids.filter_map(Value::as_str).map(str::to_owned));
    }
    ids
}

fn items(inbox: &Value) -> &[Value] {
    inbox["items"].as_array().expect("the response has `items`")
}

async fn read(world: &World, path: &str) -> Value {
    let (status, inbox) = world.get(&format!("/v1/users/{path}")).await;
    assert_eq!(status, 200, "{path}: {inbox}");
    inbox
}

async fn take(world: &World, path: &str) -> Value {
    let url = world.list_url(&format!("/v1/users/{path}"));
    ApiResponse::send(world.http.post(url)).await.expect_status(200)
}

#[tokio::test]
async fn read_returns_oldest_first_and_changes_nothing() {
    let world = World::shared().await;
    assert_eq!(read(&world, "read/messages").await, json!({"items": [], "has_more": false}));
    let ids = fill(&world, "read", 60, "").await;
    for _ in 0..2 {
        let inbox = read(&world, "read/messages?limit=60").await;
        assert_eq!(
            (message_ids(items(&inbox)), &inbox["has_more"]),
            (ids.iter().map(String::as_str).collect(), &json!(false))
        );
    }
    let inbox = read(&world, "read/messages").await;
    assert_eq!((items(&inbox).len(), &inbox["has_more"]), (50, &json!(true)), "the default limit");
    let inbox = read(&world, "read/messages?limit=1").await;
    assert_eq!(
        (message_ids(items(&inbox)), &inbox["has_more"]),
        (vec![ids[0].as_str()], &json!(true))
    );
    assert_eq!(items(&inbox)[0], world.get(&format!("/v1/messages/{}", ids[0])).await.1);
}

#[tokio::test]
async fn take_returns_the_oldest_messages_and_expires_them() {
    let world = World::shared().await;
    let ids = fill(&world, "taken", 10, "").await;
    let first = take(&world, "taken/messages/take?limit=4").await;
    assert_eq!(
        (message_ids(items(&first)), &first["has_more"]),
        (ids[..4].iter().map(String::as_str).collect(), &json!(true))
    );
    for item in items(&first) {
        assert_eq!(
            world.get(&format!("/v1/messages/{}", message_id(item))).await,
            (200, item.clone())
        );
        assert_eq!(world.pttl(message_id(item)).await, -2);
    }
    assert_eq!(message_ids(items(&read(&world, "taken/messages").await)), ids[4..]);
    let rest = take(&world, "taken/messages/take").await;
    assert_eq!(
        (message_ids(items(&rest)), &rest["has_more"]),
        (ids[4..].iter().map(String::as_str).collect(), &json!(false))
    );
    let nothing = json!({"items": [], "has_more": false});
    assert_eq!(take(&world, "taken/messages/take").await, nothing);
    assert_eq!(read(&world, "taken/messages").await, nothing);
}

#[tokio::test]
async fn get_chats_takes_the_inbox_and_head_does_not() {
    let world = World::shared().await;
    let ids = fill(&world, "chats", 5, "").await;
    let url = |query: &str| world.list_url(&format!("/chats/chats{query}"));
    let head = ApiResponse::send(world.http.head(url(""))).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    let response = ApiResponse::send(world.http.get(url("?limit=2"))).await;
    assert_eq!(response.header("cache-control"), "no-store");
    assert_eq!(message_ids(response.expect_status(200).as_array().expect("an array")), ids[..2]);
    let response = ApiResponse::send(world.http.get(url(""))).await.expect_status(200);
    assert_eq!(message_ids(response.as_array().expect("an array")), ids[2..]);
    assert_eq!(ApiResponse::send(world.http.get(url(""))).await.expect_status(200), json!([]));
}

#[tokio::test]
async fn inbox_is_matched_by_the_exact_username() {
    let world = World::shared().await;
    let names = [
        ("a/b", "a%2Fb"),
        ("a%2Fb", "a%252Fb"),
        ("50%", "50%25"),
        ("ä", "%C3%A4"),
        ("a\u{308}", "a%CC%88"),
        ("two words", "two%20words"),
        ("two+words", "two+words"),
        (" in blanks ", "%20in%20blanks%20"),
        ("?a=b&c#d", "%3Fa=b&c%23d"),
        ("Case", "Case"),
        ("case", "case"),
        ("😀".repeat(200).leak(), "%F0%9F%98%80".repeat(200).leak()),
    ];
    for (name, _) in names {
        fill(&world, name, 1, name).await;
    }
    for (name, path) in names {
        let inbox = read(&world, &format!("{path}/messages")).await;
        assert_eq!(items(&inbox).len(), 1, "{name}");
        assert_eq!(items(&inbox)[0]["username"], *name);
        let (status, chats) = world.get(&format!("/chats/{path}?limit=1")).await;
        assert_eq!((status, &chats[0]["id"]), (200, &items(&inbox)[0]["id"]), "{name}");
        let rest = take(&world, &format!("{path}/messages/take")).await;
        assert_eq!(items(&rest), [] as [Value; 0]);
    }
    for wrong in ["%00", "a%0Ab", "%C2%85", "a%FF", "u".repeat(201).leak()] {
        for path in [format!("/v1/users/{wrong}/messages"), format!("/chats/{wrong}")] {
            let response = ApiResponse::send(world.http.get(world.list_url(&path))).await;
            assert_eq!(response.expect_problem(400, "invalid_field"), ["username"], "{path}");
        }
    }
}

#[tokio::test]
async fn take_is_at_most_4_mib_and_expires_only_returned_messages() {
    let world = World::shared().await;
    let ids = fill(&world, "large", 80, &"x".repeat(60_000)).await;
    let read = read(&world, "large/messages?limit=1000").await;
    let first = take(&world, "large/messages/take").await;
    for inbox in [&read, &first] {
        let bytes: usize = items(inbox).iter().map(|item| item.to_string().len()).sum();
        assert_eq!(inbox["has_more"], true);
        assert!(bytes <= 4 << 20 && bytes > (4 << 20) - 200_000, "{bytes} bytes");
    }
    let count = items(&first).len();
    assert_eq!(message_ids(items(&first)), ids[..count]);
    for id in &ids[count..] {
        assert!(world.pttl(id).await > 0, "not returned, so still live");
    }
    let rest = take(&world, "large/messages/take").await;
    assert_eq!(
        (message_ids(items(&rest)), &rest["has_more"]),
        (ids[count..].iter().map(String::as_str).collect(), &json!(false))
    );
}

#[tokio::test]
async fn disabled_get_routes_return_405() {
    let setup = Setup::new().set("MAYFLY_LIST__CHATS_GET", "off");
    let world = setup
        .set("MAYFLY_INGEST__WRITE_BY_GET", "off")
        .set("MAYFLY_PUBLIC__LIST_URL", "")
        .start()
        .await;
    let ids = fill(&world, "fred", 3, "").await;
    for method in [reqwest::Method::GET, reqwest::Method::HEAD] {
        let response =
            ApiResponse::send(world.http.request(method, world.list_url("/chats/fred"))).await;
        assert_eq!((response.status, response.header("allow")), (405, "OPTIONS"));
    }
    assert_eq!(message_ids(items(&read(&world, "fred/messages").await)), ids);
    let query = "username=fred&city=c&state=s&message=m";
    for path in ["/message/write", "/message/write/"] {
        let url = world.ingest_url(&format!("{path}?{query}"));
        ApiResponse::send(world.http.get(&url)).await.expect_problem(405, "method_not_allowed");
        // Without a public URL of list-api, `Location` and `Link` are relative.
        let response = ApiResponse::send(world.http.post(&url)).await;
        let id = message_id(&response.expect_status(202)).to_owned();
        assert_eq!(response.header("location"), format!("/v1/messages/{id}"));
    }
    let link = eventually(DEFAULT_TIMEOUT, "a second page exists", async || {
        let response =
            ApiResponse::send(world.http.get(world.list_url("/v1/messages?limit=1"))).await;
        let link = response.header("link").to_owned();
        if link.is_empty() { Err(response.text()) } else { Ok(link) }
    })
    .await;
    assert!(link.starts_with("</v1/messages?limit=1&cursor="), "{link}");
}
