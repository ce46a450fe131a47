//! Pagination of stored messages.

use std::collections::BTreeSet;

use mayfly_tests::{ApiResponse, DEFAULT_TIMEOUT, World, eventually, message_id, message_ids};
use serde_json::{Value, json};

/// Posts messages on a channel by two alternating usernames and waits until they are stored.
async fn store(world: &World, channel: &str, count: usize, data: &str) -> Vec<String> {
    let messages: Vec<_> = (0..count)
        .map(|index| {
            let username = if index % 2 == 0 { "even & odd" } else { "odd" };
            json!({"channel": channel, "username": username, "data": data, "text": index.to_string()})
        })
        .collect();
    let mut ids = Vec::new();
    for batch in messages.chunks(60) {
        let response = world.post("/v1/messages/batch", &Value::from(batch)).await;
        assert_eq!(response.status(), 202);
        let response: Value = response.json().await.expect("valid JSON");
        let batch_ids = response["ids"].as_array().expect("ids");
        ids.extend(batch_ids.iter().filter_map(Value::as_str).map(str::to_owned));
    }
    let stored = format!("SELECT count(*) FROM messages WHERE channel = '{channel}'");
    eventually(DEFAULT_TIMEOUT, "all messages are stored", async || {
        let stored = world.query_count(&stored).await;
        if stored == i64::try_from(count).expect("fits in the integer type") {
            Ok(())
        } else {
            Err(stored)
        }
    })
    .await;
    ids
}

async fn page(world: &World, query: &str) -> Value {
    let (status, page) = world.get(&format!("/v1/messages?{query}")).await;
    assert_eq!(status, 200, "{query}: {page}");
    page
}

fn items(page: &Value) -> &[Value] {
    page["items"].as_array().expect("the response has `items`")
}

fn cursor(page: &Value) -> &str {
    page["next_cursor"].as_str().expect("the page has `next_cursor`")
}

/// Reads all pages. Returns the IDs and the last page.
async fn list_all(world: &World, query: &str) -> (Vec<String>, Value) {
    let (mut ids, mut next) = (Vec::new(), String::new());
    loop {
        let page = page(world, &format!("{query}{next}")).await;
        ids.extend(items(&page).iter().map(|item| message_id(item).to_owned()));
        if page["has_more"] == false {
            return (ids, page);
        }
        next = format!("&cursor={}", cursor(&page));
    }
}

#[tokio::test]
async fn pages_contain_each_message_once_in_order_of_persistence() {
    let world = World::shared().await;
    let ids = store(&world, "walk-order", 130, "").await;
    let postgres = world.postgres().await;
    let query = "SELECT id::text FROM messages WHERE channel = 'walk-order' ORDER BY seq";
    let rows = postgres.query(query, &[]).await.expect("the query works");
    let mut persisted: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let sorted: BTreeSet<_> = persisted.iter().collect();
    assert!(sorted.into_iter().eq(&ids), "each is stored once, if not in this order");
    for limit in [1, 7, 65, 130, 1_000] {
        let (listed, _) = list_all(&world, &format!("channel=walk-order&limit={limit}")).await;
        assert_eq!(listed, persisted, "limit {limit}");
    }
    persisted.reverse();
    for limit in [7, 130] {
        let query = format!("channel=walk-order&order=desc&limit={limit}");
        assert_eq!(list_all(&world, &query).await.0, persisted, "newest first, limit {limit}");
    }
    assert_eq!(items(&page(&world, "channel=walk-order").await).len(), 50, "the default limit");
}

#[tokio::test]
async fn next_cursor_is_opaque_and_valid_at_the_end_of_the_list() {
    let world = World::shared().await;
    let empty = page(&world, "channel=walk-end").await;
    assert_eq!(empty, json!({"items": [], "next_cursor": null, "has_more": false}));
    store(&world, "walk-end", 3, "").await;
    let (listed, last) = list_all(&world, "channel=walk-end&limit=2").await;
    assert_eq!(listed.len(), 3);
    let end = cursor(&last).to_owned();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    assert!((1..=256).contains(&end.len()) && end.bytes().all(is_plain), "{end}");

    let query = format!("channel=walk-end&cursor={end}");
    let nothing_new = page(&world, &query).await;
    assert_eq!(nothing_new, json!({"items": [], "next_cursor": end, "has_more": false}));
    let later = world.post_message(&json!({"channel": "walk-end", "text": "later"})).await;
    let found = eventually(DEFAULT_TIMEOUT, "a later message is listed", async || {
        let page = page(&world, &query).await;
        if items(&page).is_empty() { Err(page) } else { Ok(page) }
    })
    .await;
    assert_eq!(message_ids(items(&found)), [message_id(&later)]);
    assert_ne!(cursor(&found), end);

    let newest = page(&world, "channel=walk-end&order=desc&limit=3").await;
    assert_eq!(
        (items(&newest)[0]["id"].clone(), &newest["has_more"]),
        (later["id"].clone(), &json!(true))
    );
    // The cursor contains the order.
    let oldest = page(&world, &format!("channel=walk-end&cursor={}", cursor(&newest))).await;
    assert_eq!(message_ids(items(&oldest)), [listed[0].as_str()]);
}

#[tokio::test]
async fn list_can_be_filtered_by_channel_and_username() {
    let world = World::shared().await;
    let ids = store(&world, "walk-filters", 21, "").await;
    store(&world, "walk-others", 4, "").await;
    let even: Vec<_> = ids.iter().step_by(2).cloned().collect();
    let both = "channel=walk-filters&username=even+%26%20odd&limit=4";
    assert_eq!(list_all(&world, both).await.0, even);
    let (by_name, _) = list_all(&world, "username=even+%26+odd&limit=7").await;
    assert!(even.iter().all(|id| by_name.contains(id)) && by_name.len() > even.len());
    assert_eq!(list_all(&world, "channel=walk-filters&username=Odd").await.0, [] as [&str; 0]);
}

#[tokio::test]
async fn link_header_contains_the_next_page() {
    let world = World::shared().await;
    let ids = store(&world, "walk-links", 9, "").await;
    let even: Vec<_> = ids.iter().step_by(2).cloned().collect();
    let query = "channel=walk-links&username=even+%26+odd&limit=2";
    let mut url = world.list_url(&format!("/v1/messages?{query}"));
    let mut listed = Vec::new();
    loop {
        let response = ApiResponse::send(world.http.get(&url)).await;
        let page = response.expect_status(200);
        listed.extend(message_ids(items(&page)).into_iter().map(str::to_owned));
        assert_eq!(page["has_more"], !response.header("link").is_empty());
        let Some(rest) = response.header("link").strip_prefix('<') else { break };
        url = rest.strip_suffix(">; rel=\"next\"").expect("a `next` link").to_owned();
        assert!(
            url.starts_with(&world.list_url("/v1/messages?")),
            "an absolute URL below the public URL"
        );
    }
    assert_eq!(listed, even);
}

#[tokio::test]
async fn page_is_at_most_4_mib() {
    let world = World::shared().await;
    let data = "x".repeat(60_000);
    let ids = store(&world, "walk-large", 75, &data).await;
    for order in ["asc", "desc"] {
        let first = page(&world, &format!("channel=walk-large&limit=1000&order={order}")).await;
        let bytes: usize = items(&first).iter().map(|item| item.to_string().len()).sum();
        assert_eq!(first["has_more"], true);
        assert!(bytes <= 4 << 20 && bytes > (4 << 20) - 130_000, "{bytes} bytes");
    }
    // Two batches, which two writers may store in either order.
    let (mut listed, _) = list_all(&world, "channel=walk-large&limit=1000").await;
    listed.sort();
    assert_eq!(listed, ids);
}

#[tokio::test]
async fn invalid_cursor_returns_400() {
    let world = World::shared().await;
    store(&world, "walk-cursors", 2, "").await;
    let first = page(&world, "channel=walk-cursors&limit=1").await;
    let (valid, long) = (cursor(&first), "a".repeat(5_000));
    let zeros = format!("1a{}", "f".repeat(16));
    let upper = valid.to_uppercase();
    for bad in
        ["", "x", "0", "-1", "1a", "1a-5", "1a+5", "2a5", "%00", "%C3%A4", &long, &zeros, &upper]
    {
        let url = world.list_url(&format!("/v1/messages?cursor={bad}"));
        let response = ApiResponse::send(world.http.get(url)).await;
        assert_eq!(response.expect_problem(400, "invalid_cursor"), ["cursor"], "{bad}");
    }
    let other_order = world.list_url(&format!("/v1/messages?order=desc&cursor={valid}"));
    ApiResponse::send(world.http.get(other_order)).await.expect_problem(400, "invalid_cursor");
}

#[tokio::test]
async fn limit_is_1_to_1000_and_unknown_parameters_are_rejected() {
    let world = World::shared().await;
    let paths = ["/v1/messages", "/v1/users/nobody/messages", "/chats/nobody"];
    for path in paths {
        for limit in ["1", "1000"] {
            assert_eq!(world.get(&format!("{path}?limit={limit}")).await.0, 200);
        }
    }
    let wrong = [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=", "limit"),
        ("limit=1.0", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("limit=1&limit=2", "limit"),
        ("offset=5", "offset"),
        ("Limit=5", "Limit"),
    ];
    for path in paths {
        for (query, field) in wrong {
            let response =
                ApiResponse::send(world.http.get(world.list_url(&format!("{path}?{query}")))).await;
            assert_eq!(response.expect_problem(400, "invalid_field"), [field], "{path}?{query}");
        }
    }
    for (query, field) in [
        ("order=up", "order"),
        ("channel=a%20b", "channel"),
        ("channel=", "channel"),
        ("username=", "username"),
        ("username=%FF", "username"),
        ("since=1", "since"),
    ] {
        let response =
            ApiResponse::send(world.http.get(world.list_url(&format!("/v1/messages?{query}"))))
                .await;
        assert_eq!(response.expect_problem(400, "invalid_field"), [field], "{query}");
    }
    for path in ["/v1/messages/x", "/chat/x", "/health"] {
        let response =
            ApiResponse::send(world.http.get(world.list_url(&format!("{path}?a=1")))).await;
        assert_eq!(response.expect_problem(400, "invalid_field"), ["a"], "{path}");
    }
    let take = world.http.post(world.list_url("/v1/users/nobody/messages/take?all=1"));
    assert_eq!(ApiResponse::send(take).await.expect_problem(400, "invalid_field"), ["all"]);
    for path in ["/v1/messages", "/v1/messages/batch", "/chat", "/dummy"] {
        let post =
            world.http.post(world.ingest_url(&format!("{path}?a=1"))).json(&json!({"text": "x"}));
        assert_eq!(
            ApiResponse::send(post).await.expect_problem(400, "invalid_field"),
            ["a"],
            "{path}"
        );
    }
}
