//! The inbox: looked at, and taken by exactly one.

use mayfly_tests::{Answer, PATIENCE, Setup, World, eventually, id_of, ids_of};
use serde_json::{Value, json};

/// Posts so many messages to a username; their ids, oldest first.
async fn fill(world: &World, username: &str, count: usize, data: &str) -> Vec<String> {
    let messages: Vec<_> = (0..count)
        .map(|place| json!({"username": username, "text": place.to_string(), "data": data}))
        .collect();
    let mut ids = Vec::new();
    for batch in messages.chunks(60) {
        let answer = Answer::of(
            world.http.post(world.ingest("/v1/messages/batch")).json(&Value::from(batch)),
        )
        .await
        .expect(202);
        let of_batch = answer["ids"].as_array().expect("ids").iter();
        ids.extend(of_batch.filter_map(Value::as_str).map(str::to_owned));
    }
    ids
}

fn items(inbox: &Value) -> &[Value] {
    inbox["items"].as_array().expect("there are items")
}

async fn look(world: &World, path: &str) -> Value {
    let (status, inbox) = world.get(&format!("/v1/users/{path}")).await;
    assert_eq!(status, 200, "{path}: {inbox}");
    inbox
}

async fn take(world: &World, path: &str) -> Value {
    let url = world.list(&format!("/v1/users/{path}"));
    Answer::of(world.http.post(url)).await.expect(200)
}

#[tokio::test]
async fn a_look_at_an_inbox_is_oldest_first_and_leaves_it_untouched() {
    let world = World::shared().await;
    assert_eq!(look(&world, "looked/messages").await, json!({"items": [], "has_more": false}));
    let ids = fill(&world, "looked", 60, "").await;
    for _ in 0..2 {
        let inbox = look(&world, "looked/messages?limit=60").await;
        assert_eq!(
            (ids_of(items(&inbox)), &inbox["has_more"]),
            (ids.iter().map(String::as_str).collect(), &json!(false))
        );
    }
    let inbox = look(&world, "looked/messages").await;
    assert_eq!((items(&inbox).len(), &inbox["has_more"]), (50, &json!(true)), "the default");
    let inbox = look(&world, "looked/messages?limit=1").await;
    assert_eq!((ids_of(items(&inbox)), &inbox["has_more"]), (vec![ids[0].as_str()], &json!(true)));
    assert_eq!(items(&inbox)[0], world.get(&format!("/v1/messages/{}", ids[0])).await.1);
}

#[tokio::test]
async fn a_take_gives_the_oldest_and_expires_what_it_returns_in_the_same_step() {
    let world = World::shared().await;
    let ids = fill(&world, "taken", 10, "").await;
    let first = take(&world, "taken/messages/take?limit=4").await;
    assert_eq!(
        (ids_of(items(&first)), &first["has_more"]),
        (ids[..4].iter().map(String::as_str).collect(), &json!(true))
    );
    for item in items(&first) {
        assert_eq!(world.get(&format!("/v1/messages/{}", id_of(item))).await, (200, item.clone()));
        assert_eq!(world.pttl(id_of(item)).await, -2);
    }
    assert_eq!(ids_of(items(&look(&world, "taken/messages").await)), ids[4..]);
    let rest = take(&world, "taken/messages/take").await;
    assert_eq!(
        (ids_of(items(&rest)), &rest["has_more"]),
        (ids[4..].iter().map(String::as_str).collect(), &json!(false))
    );
    let nothing = json!({"items": [], "has_more": false});
    assert_eq!(take(&world, "taken/messages/take").await, nothing);
    assert_eq!(look(&world, "taken/messages").await, nothing);
}

#[tokio::test]
async fn chats_is_the_inbox_taken_as_an_array_and_head_takes_nothing() {
    let world = World::shared().await;
    let ids = fill(&world, "chats", 5, "").await;
    let url = |query: &str| world.list(&format!("/chats/chats{query}"));
    let head = Answer::of(world.http.head(url(""))).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    let answer = Answer::of(world.http.get(url("?limit=2"))).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(ids_of(answer.expect(200).as_array().expect("an array")), ids[..2]);
    let answer = Answer::of(world.http.get(url(""))).await.expect(200);
    assert_eq!(ids_of(answer.as_array().expect("an array")), ids[2..]);
    assert_eq!(Answer::of(world.http.get(url(""))).await.expect(200), json!([]));
}

#[tokio::test]
async fn an_inbox_belongs_to_a_username_character_by_character() {
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
        let inbox = look(&world, &format!("{path}/messages")).await;
        assert_eq!(items(&inbox).len(), 1, "{name}");
        assert_eq!(items(&inbox)[0]["username"], *name);
        let (status, chats) = world.get(&format!("/chats/{path}?limit=1")).await;
        assert_eq!((status, &chats[0]["id"]), (200, &items(&inbox)[0]["id"]), "{name}");
        let left = take(&world, &format!("{path}/messages/take")).await;
        assert_eq!(items(&left), [] as [Value; 0]);
    }
    for wrong in ["%00", "a%0Ab", "%C2%85", "a%FF", "u".repeat(201).leak()] {
        for path in [format!("/v1/users/{wrong}/messages"), format!("/chats/{wrong}")] {
            let answer = Answer::of(world.http.get(world.list(&path))).await;
            assert_eq!(answer.expect_problem(400, "invalid_field"), ["username"], "{path}");
        }
    }
}

#[tokio::test]
async fn a_take_of_more_than_4_mib_ends_earlier_and_expires_only_what_it_returns() {
    let world = World::shared().await;
    let ids = fill(&world, "large", 80, &"x".repeat(60_000)).await;
    let looked = look(&world, "large/messages?limit=1000").await;
    let first = take(&world, "large/messages/take").await;
    for inbox in [&looked, &first] {
        let bytes: usize = items(inbox).iter().map(|item| item.to_string().len()).sum();
        assert_eq!(inbox["has_more"], true);
        assert!(bytes <= 4 << 20 && bytes > (4 << 20) - 200_000, "{bytes} bytes");
    }
    let count = items(&first).len();
    assert_eq!(ids_of(items(&first)), ids[..count]);
    for id in &ids[count..] {
        assert!(world.pttl(id).await > 0, "it was not returned, so it is live");
    }
    let rest = take(&world, "large/messages/take").await;
    assert_eq!(
        (ids_of(items(&rest)), &rest["has_more"]),
        (ids[count..].iter().map(String::as_str).collect(), &json!(false))
    );
}

#[tokio::test]
async fn where_chats_get_is_off_it_is_405_and_where_write_by_get_is_off_too() {
    let setup = Setup::new().set("MAYFLY_LIST__CHATS_GET", "off");
    let world = setup
        .set("MAYFLY_INGEST__WRITE_BY_GET", "off")
        .set("MAYFLY_PUBLIC__LIST_URL", "")
        .start()
        .await;
    let ids = fill(&world, "fred", 3, "").await;
    for method in [reqwest::Method::GET, reqwest::Method::HEAD] {
        let answer = Answer::of(world.http.request(method, world.list("/chats/fred"))).await;
        assert_eq!((answer.status, answer.header("allow")), (405, "OPTIONS"));
    }
    assert_eq!(ids_of(items(&look(&world, "fred/messages").await)), ids);
    let query = "username=fred&city=c&state=s&message=m";
    for path in ["/message/write", "/message/write/"] {
        let url = world.ingest(&format!("{path}?{query}"));
        Answer::of(world.http.get(&url)).await.expect_problem(405, "method_not_allowed");
        // Without a public URL of list-api, `Location` and `Link` are relative.
        let answer = Answer::of(world.http.post(&url)).await;
        let id = id_of(&answer.expect(202)).to_owned();
        assert_eq!(answer.header("location"), format!("/v1/messages/{id}"));
    }
    let link = eventually(PATIENCE, "there is a next page", async || {
        let answer = Answer::of(world.http.get(world.list("/v1/messages?limit=1"))).await;
        let link = answer.header("link").to_owned();
        if link.is_empty() { Err(answer.text()) } else { Ok(link) }
    })
    .await;
    assert!(link.starts_with("</v1/messages?limit=1&cursor="), "{link}");
}
