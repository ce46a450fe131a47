//! Lists of messages contain only the messages that the caller may read.

use std::collections::BTreeSet;

use mayfly_tests::World;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{
    create_operator,
    credentials::{NewKey, create_keys, create_token},
    get, message, post, post_message, send, setup, shared, wait_until_stored,
};

/// Returns a stack whose stored messages are exactly the messages of [`stored`].
async fn listed() -> World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    static STORED: OnceCell<()> = OnceCell::const_new();
    let world = setup().share(&WORLD).await;
    STORED.get_or_init(async || store_messages(&world).await).await;
    world
}

async fn store_messages(world: &World) {
    let operator = create_operator(world).await;
    let messages = stored();
    let batch: Value =
        messages.iter().map(|(channel, username, text)| message(channel, username, text)).collect();
    let accepted = post(world, "/v1/messages/batch", &batch, &operator).await;
    for id in accepted.expect_status(202)["ids"].as_array().expect("`ids`") {
        wait_until_stored(world, id.as_str().expect("an ID")).await;
    }
}

/// Returns the stored messages: channel, username and text. Each text is unique.
fn stored() -> Vec<(&'static str, &'static str, String)> {
    let channels = ["chat.1", "chat.2", "chat.10", "secret", "lobby"];
    let usernames = ["fred", "eve", ""];
    (0..150)
        .map(|number| {
            let (channel, username) = (channels[number % 5], usernames[number / 5 % 3]);
            (channel, username, number.to_string())
        })
        .collect()
}

/// Reads all pages of a list. Returns the texts in the order of the list.
async fn list_all(world: &World, query: &str, credentials: &str) -> Vec<String> {
    let (mut texts, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/messages?{query}{cursor}");
        let page = get(world, &path, credentials).await.expect_status(200);
        for item in page["items"].as_array().expect("`items`") {
            texts.push(item["text"].as_str().expect("a text").to_owned());
        }
        if page["has_more"] == false {
            return texts;
        }
        cursor = format!("&cursor={}", page["next_cursor"].as_str().expect("`next_cursor`"));
    }
}

/// Checks the complete list of a caller, with several page sizes and in both orders.
async fn check(
    world: &World,
    query: &str,
    credentials: &str,
    is_readable: impl Fn(&str, &str) -> bool,
) {
    let expected: BTreeSet<String> = stored()
        .into_iter()
        .filter(|(channel, username, _)| is_readable(channel, username))
        .map(|(_, _, text)| text)
        .collect();
    let mut ascending = None;
    for limit in [1, 7, 50, 1_000] {
        let texts = list_all(world, &format!("limit={limit}&{query}"), credentials).await;
        let distinct: BTreeSet<_> = texts.iter().cloned().collect();
        assert_eq!(distinct, expected, "{query} limit {limit}");
        assert_eq!(texts.len(), distinct.len(), "no message is listed twice");
        let first = ascending.get_or_insert_with(|| texts.clone());
        assert_eq!(*first, texts, "the same order for every limit");
        let descending = format!("limit={limit}&order=desc&{query}");
        let mut reversed = list_all(world, &descending, credentials).await;
        reversed.reverse();
        assert_eq!(reversed, texts, "{query} limit {limit}");
    }
}

async fn create_key(
    world: &World,
    channels: Option<&[&str]>,
    usernames: Option<&[&str]>,
) -> String {
    let key = NewKey { scopes: &["read"], channels, usernames, ..NewKey::default() };
    create_keys(world, &[key]).await.remove(0)
}

#[tokio::test]
async fn key_lists_its_channels() {
    let world = listed().await;
    let exact = create_key(&world, Some(&["chat.1", "secret", "missing"]), None).await;
    check(&world, "", &exact, |channel, _| ["chat.1", "secret"].contains(&channel)).await;
    check(&world, "channel=chat.1", &exact, |channel, _| channel == "chat.1").await;
    check(&world, "username=eve", &exact, |channel, username| {
        ["chat.1", "secret"].contains(&channel) && username == "eve"
    })
    .await;
    let pattern = create_key(&world, Some(&["chat.*"]), None).await;
    check(&world, "", &pattern, |channel, _| channel.starts_with("chat.")).await;
    let both = "channel=chat.2&username=fred";
    check(&world, both, &pattern, |channel, username| (channel, username) == ("chat.2", "fred"))
        .await;
    let all = create_key(&world, None, None).await;
    check(&world, "", &all, |_, _| true).await;
}

#[tokio::test]
async fn key_lists_messages_of_its_usernames_and_messages_without_a_username() {
    let world = listed().await;
    let key = create_key(&world, None, Some(&["f*"])).await;
    check(&world, "", &key, |_, username| username != "eve").await;
    check(&world, "channel=lobby", &key, |channel, username| {
        channel == "lobby" && username != "eve"
    })
    .await;
    check(&world, "username=fred", &key, |_, username| username == "fred").await;
}

#[tokio::test]
async fn token_lists_its_channels_and_the_messages_of_its_subject() {
    let world = listed().await;
    let exact = create_token("fred", json!({"subscribe": ["lobby", "chat.10"]}));
    check(&world, "", &exact, |channel, _| ["lobby", "chat.10"].contains(&channel)).await;
    let with_inbox = create_token("fred", json!({"subscribe": ["lobby"], "inbox": true}));
    check(&world, "", &with_inbox, |channel, username| channel == "lobby" || username == "fred")
        .await;
    check(&world, "username=fred", &with_inbox, |_, username| username == "fred").await;
    check(&world, "username=eve", &with_inbox, |channel, username| {
        (channel, username) == ("lobby", "eve")
    })
    .await;
    let inbox = create_token("eve", json!({"inbox": true}));
    check(&world, "", &inbox, |_, username| username == "eve").await;
}

#[tokio::test]
async fn filter_without_the_right_is_forbidden_whether_or_not_the_name_exists() {
    let world = listed().await;
    let key = create_key(&world, Some(&["chat.*"]), Some(&["fred"])).await;
    let token = create_token("fred", json!({"subscribe": ["chat.*"]}));
    let inbox = create_token("fred", json!({"inbox": true}));
    for (credentials, query, field) in [
        (&key, "channel=secret", "channel"),
        (&key, "channel=missing", "channel"),
        (&key, "username=eve", "username"),
        (&key, "username=missing", "username"),
        (&key, "channel=chat.1&username=eve", "username"),
        (&token, "channel=secret", "channel"),
        (&token, "channel=missing&username=fred", "channel"),
        (&inbox, "channel=lobby", "channel"),
        (&inbox, "username=eve", "username"),
        (&inbox, "username=missing", "username"),
    ] {
        let response = get(&world, &format!("/v1/messages?{query}"), credentials).await;
        assert_eq!(response.expect_problem(403, "forbidden"), [field], "{query}");
    }
    let publisher = create_token("fred", json!({"publish": ["*"]}));
    get(&world, "/v1/messages", &publisher).await.expect_problem(403, "forbidden");
}

#[tokio::test]
async fn hidden_messages_do_not_change_a_list() {
    let world = shared().await;
    let operator = create_operator(&world).await;
    let own = message("list-own", "list-fred", "x");
    let own = post_message(&world, &own, &operator).await;
    wait_until_stored(&world, &own).await;
    let pattern = ["list-own*"];
    let callers = [
        create_key(&world, Some(&pattern), None).await,
        create_key(&world, Some(&["list-own"]), None).await,
        create_token("list-fred", json!({"subscribe": pattern, "inbox": true})),
    ];
    let queries = ["", "channel=list-own", "username=list-fred", "username=list-eve"];
    let read_pages = async || {
        let mut pages = Vec::new();
        for credentials in &callers {
            for query in queries {
                for order in ["asc", "desc"] {
                    let list = format!("/v1/messages?limit=1&order={order}&{query}");
                    let first = get(&world, &list, credentials).await;
                    let page = first.expect_status(200);
                    let mut cursor = String::new();
                    if let Some(next) = page["next_cursor"].as_str() {
                        cursor = format!("&cursor={next}");
                    }
                    let rest = get(&world, &format!("{list}{cursor}"), credentials).await;
                    pages.push((query, page, rest.expect_status(200)));
                    assert_eq!(rest.header("link"), "");
                }
            }
        }
        pages
    };
    let before = read_pages().await;
    for username in ["list-eve", ""] {
        let hidden = message("list-hidden", username, "x");
        let hidden = post_message(&world, &hidden, &operator).await;
        wait_until_stored(&world, &hidden).await;
    }
    assert_eq!(read_pages().await, before);
}

#[tokio::test]
async fn link_leads_through_the_readable_messages() {
    let world = listed().await;
    let token = create_token("fred", json!({"subscribe": ["chat.*"]}));
    let mut url = world.list_url("/v1/messages?limit=20");
    let mut texts = Vec::new();
    loop {
        let response = send(world.http.get(&url), &token).await;
        let page = response.expect_status(200);
        let items = page["items"].as_array().expect("`items`");
        texts.extend(items.iter().map(|item| item["text"].to_string()));
        assert_eq!(page["has_more"], !response.header("link").is_empty());
        let Some(rest) = response.header("link").strip_prefix('<') else { break };
        url = rest.strip_suffix(">; rel=\"next\"").expect("a `next` link").to_owned();
    }
    assert_eq!(texts.len(), 90);
}
