//! The walk through everything that was ever stored.

use mayfly_tests::{Answer, PATIENCE, World, eventually, id_of, ids_of};
use serde_json::{Value, json};

/// Posts so many messages on a channel, by two usernames in turn, and waits until all are stored.
async fn store(world: &World, channel: &str, count: usize, data: &str) -> Vec<String> {
    let messages: Vec<_> = (0..count)
        .map(|place| {
            let username = if place % 2 == 0 { "even & odd" } else { "odd" };
            json!({"channel": channel, "username": username, "data": data, "text": place.to_string()})
        })
        .collect();
    let mut ids = Vec::new();
    for batch in messages.chunks(60) {
        let answer = world.post("/v1/messages/batch", &Value::from(batch)).await;
        assert_eq!(answer.status(), 202);
        let answer: Value = answer.json().await.expect("JSON");
        let of_batch = answer["ids"].as_array().expect("ids");
        ids.extend(of_batch.iter().filter_map(Value::as_str).map(str::to_owned));
    }
    let stored = format!("SELECT count(*) FROM messages WHERE channel = '{channel}'");
    eventually(PATIENCE, "all are stored", async || {
        let stored = world.count(&stored).await;
        if stored == i64::try_from(count).expect("few") { Ok(()) } else { Err(stored) }
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
    page["items"].as_array().expect("there are items")
}

fn cursor(page: &Value) -> &str {
    page["next_cursor"].as_str().expect("there is a cursor")
}

/// Pages until there is no more; the ids, and the last page.
async fn walk(world: &World, query: &str) -> (Vec<String>, Value) {
    let (mut ids, mut next) = (Vec::new(), String::new());
    loop {
        let page = page(world, &format!("{query}{next}")).await;
        ids.extend(items(&page).iter().map(|item| id_of(item).to_owned()));
        if page["has_more"] == false {
            return (ids, page);
        }
        next = format!("&cursor={}", cursor(&page));
    }
}

#[tokio::test]
async fn the_walk_gives_every_message_once_in_the_order_of_persistence_or_newest_first() {
    let world = World::shared().await;
    let ids = store(&world, "walk-order", 130, "").await;
    let postgres = world.postgres().await;
    let query = "SELECT id::text FROM messages WHERE channel = 'walk-order' ORDER BY seq";
    let rows = postgres.query(query, &[]).await.expect("the query works");
    let mut persisted: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(persisted, ids, "one worker stores them as they came");
    for limit in [1, 7, 65, 130, 1_000] {
        let (walked, _) = walk(&world, &format!("channel=walk-order&limit={limit}")).await;
        assert_eq!(walked, persisted, "by {limit}");
    }
    persisted.reverse();
    for limit in [7, 130] {
        let query = format!("channel=walk-order&order=desc&limit={limit}");
        assert_eq!(walk(&world, &query).await.0, persisted, "newest first by {limit}");
    }
    assert_eq!(items(&page(&world, "channel=walk-order").await).len(), 50, "the default limit");
}

#[tokio::test]
async fn next_cursor_is_opaque_usable_at_the_end_and_null_only_where_nothing_was_ever_listed() {
    let world = World::shared().await;
    let empty = page(&world, "channel=walk-end").await;
    assert_eq!(empty, json!({"items": [], "next_cursor": null, "has_more": false}));
    store(&world, "walk-end", 3, "").await;
    let (walked, last) = walk(&world, "channel=walk-end&limit=2").await;
    assert_eq!(walked.len(), 3);
    let end = cursor(&last).to_owned();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    assert!((1..=256).contains(&end.len()) && end.bytes().all(is_plain), "{end}");

    let query = format!("channel=walk-end&cursor={end}");
    let nothing_new = page(&world, &query).await;
    assert_eq!(nothing_new, json!({"items": [], "next_cursor": end, "has_more": false}));
    let later = world.post_message(&json!({"channel": "walk-end", "text": "later"})).await;
    let found = eventually(PATIENCE, "what came later is found", async || {
        let page = page(&world, &query).await;
        if items(&page).is_empty() { Err(page) } else { Ok(page) }
    })
    .await;
    assert_eq!(ids_of(items(&found)), [id_of(&later)]);
    assert_ne!(cursor(&found), end);

    let newest = page(&world, "channel=walk-end&order=desc&limit=3").await;
    assert_eq!(
        (items(&newest)[0]["id"].clone(), &newest["has_more"]),
        (later["id"].clone(), &json!(true))
    );
    // The cursor knows its order.
    let oldest = page(&world, &format!("channel=walk-end&cursor={}", cursor(&newest))).await;
    assert_eq!(ids_of(items(&oldest)), [walked[0].as_str()]);
}

#[tokio::test]
async fn the_walk_can_be_had_of_a_channel_and_of_a_username() {
    let world = World::shared().await;
    let ids = store(&world, "walk-filters", 21, "").await;
    store(&world, "walk-others", 4, "").await;
    let even: Vec<_> = ids.iter().step_by(2).cloned().collect();
    let both = "channel=walk-filters&username=even+%26%20odd&limit=4";
    assert_eq!(walk(&world, both).await.0, even);
    let (by_name, _) = walk(&world, "username=even+%26+odd&limit=7").await;
    assert!(even.iter().all(|id| by_name.contains(id)) && by_name.len() > even.len());
    assert_eq!(walk(&world, "channel=walk-filters&username=Odd").await.0, [] as [&str; 0]);
}

#[tokio::test]
async fn link_names_the_next_page_while_there_is_more() {
    let world = World::shared().await;
    let ids = store(&world, "walk-links", 9, "").await;
    let even: Vec<_> = ids.iter().step_by(2).cloned().collect();
    let query = "channel=walk-links&username=even+%26+odd&limit=2";
    let mut url = world.list(&format!("/v1/messages?{query}"));
    let mut walked = Vec::new();
    loop {
        let answer = Answer::of(world.http.get(&url)).await;
        let page = answer.expect(200);
        walked.extend(ids_of(items(&page)).into_iter().map(str::to_owned));
        assert_eq!(page["has_more"], !answer.header("link").is_empty());
        let Some(rest) = answer.header("link").strip_prefix('<') else { break };
        url = rest.strip_suffix(">; rel=\"next\"").expect("the next page").to_owned();
        assert!(url.starts_with(&world.list("/v1/messages?")), "absolute under the public URL");
    }
    assert_eq!(walked, even);
}

#[tokio::test]
async fn a_page_answers_at_most_4_mib_of_items_and_ends_earlier_with_has_more() {
    let world = World::shared().await;
    let data = "x".repeat(60_000);
    let ids = store(&world, "walk-large", 75, &data).await;
    for order in ["asc", "desc"] {
        let first = page(&world, &format!("channel=walk-large&limit=1000&order={order}")).await;
        let bytes: usize = items(&first).iter().map(|item| item.to_string().len()).sum();
        assert_eq!(first["has_more"], true);
        assert!(bytes <= 4 << 20 && bytes > (4 << 20) - 130_000, "{bytes} bytes");
    }
    // Posted as two batches, which two writers may store in either order.
    let (mut walked, _) = walk(&world, "channel=walk-large&limit=1000").await;
    walked.sort();
    assert_eq!(walked, ids);
}

#[tokio::test]
async fn a_cursor_that_is_none_of_ours_is_400_invalid_cursor() {
    let world = World::shared().await;
    store(&world, "walk-cursors", 2, "").await;
    let first = page(&world, "channel=walk-cursors&limit=1").await;
    let (ours, long) = (cursor(&first), "a".repeat(5_000));
    let zeros = format!("1a{}", "f".repeat(16));
    let upper = ours.to_uppercase();
    for bad in
        ["", "x", "0", "-1", "1a", "1a-5", "1a+5", "2a5", "%00", "%C3%A4", &long, &zeros, &upper]
    {
        let url = world.list(&format!("/v1/messages?cursor={bad}"));
        let answer = Answer::of(world.http.get(url)).await;
        assert_eq!(answer.expect_problem(400, "invalid_cursor"), ["cursor"], "{bad}");
    }
    let other_way = world.list(&format!("/v1/messages?order=desc&cursor={ours}"));
    Answer::of(world.http.get(other_way)).await.expect_problem(400, "invalid_cursor");
}

#[tokio::test]
async fn a_limit_is_1_to_1000_and_an_unknown_or_double_parameter_is_refused() {
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
            let answer = Answer::of(world.http.get(world.list(&format!("{path}?{query}")))).await;
            assert_eq!(answer.expect_problem(400, "invalid_field"), [field], "{path}?{query}");
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
        let answer = Answer::of(world.http.get(world.list(&format!("/v1/messages?{query}")))).await;
        assert_eq!(answer.expect_problem(400, "invalid_field"), [field], "{query}");
    }
    for path in ["/v1/messages/x", "/chat/x", "/health"] {
        let answer = Answer::of(world.http.get(world.list(&format!("{path}?a=1")))).await;
        assert_eq!(answer.expect_problem(400, "invalid_field"), ["a"], "{path}");
    }
    let take = world.http.post(world.list("/v1/users/nobody/messages/take?all=1"));
    assert_eq!(Answer::of(take).await.expect_problem(400, "invalid_field"), ["all"]);
    for path in ["/v1/messages", "/v1/messages/batch", "/chat", "/dummy"] {
        let post =
            world.http.post(world.ingest(&format!("{path}?a=1"))).json(&json!({"text": "x"}));
        assert_eq!(Answer::of(post).await.expect_problem(400, "invalid_field"), ["a"], "{path}");
    }
}
