//! The expiry of messages on the page, regardless of the clocks.

use mayfly_tests::{Browser, Tab, World};
use serde_json::json;

use super::{WIDE, feed_count, page_url, shared};

const HOUR_MS: i64 = 3_600_000;

/// Sets the local clock of a tab forward or back.
async fn set_clock(tab: &Tab, ms: i64) {
    tab.run(&format!("const real = Date.now; Date.now = () => real() + {ms}")).await;
}

/// Posts a message, waits until the feed shows it, and shows the inbox that contains it as well.
async fn show_message(tab: &Tab, world: &World, username: &str) {
    world.post_message(&json!({"text": username, "username": username, "ttl": 110})).await;
    tab.wait_until(&format!("{} === 1", feed_count(username))).await;
    tab.fill("#inbox-username", username).await;
    tab.click("#inbox button[value=read]").await;
    tab.wait_for_text("#inbox-list", username).await;
}

/// Waits until the remaining time of the message was updated in the feed and in the inbox, and
/// returns both in seconds.
async fn next_remaining(tab: &Tab, username: &str) -> Vec<u64> {
    let username = json!(username);
    let script = format!(
        "const read = () => ['#feed', '#inbox-list'].map((list) =>
             [...document.querySelectorAll(`${{list}} .message`)]
                 .filter((card) => card.querySelector('.name').textContent === {username})
                 .map((card) => parseInt(card.querySelector('.remaining').textContent))[0] ?? 0);
         const before = read();
         let after;
         do {{
             await new Promise((done) => setTimeout(done, 50));
             after = read();
         }} while (before.some((seconds, index) => after[index] === seconds && seconds));
         return after"
    );
    serde_json::from_value(tab.run(&script).await).expect("numbers of seconds")
}

#[tokio::test]
async fn adjustment_of_the_local_clock_does_not_change_the_life_of_messages() {
    let browser = Browser::open().await;
    let world = shared().await;
    let tab = browser.open_tab(&page_url(&world), WIDE).await;
    tab.wait_for_text("#status-text", "Live").await;
    show_message(&tab, &world, "page-clock-set").await;
    for ms in [24 * HOUR_MS, -48 * HOUR_MS] {
        set_clock(&tab, ms).await;
        let remaining = next_remaining(&tab, "page-clock-set").await;
        assert!(remaining.iter().all(|seconds| (1..110).contains(seconds)), "{ms}: {remaining:?}");
    }
}

#[tokio::test]
async fn messages_expire_while_the_computer_sleeps() {
    let browser = Browser::open().await;
    let world = shared().await;
    let tab = browser.open_tab(&page_url(&world), WIDE).await;
    tab.wait_for_text("#status-text", "Live").await;
    show_message(&tab, &world, "page-clock-asleep").await;
    world.post_message(&json!({"text": "outlives the sleep", "ttl": 7_200})).await;
    tab.wait_until(&format!("{} === 1", feed_count("outlives the sleep"))).await;
    // The clocks of the computer and of the server continue, but `performance.now()` does not.
    set_clock(&tab, HOUR_MS).await;
    tab.run(&format!(
        "const parse = JSON.parse;
         JSON.parse = (text) => {{
             const value = parse(text);
             if (value?.type === 'hello')
                 value.time = new Date(Date.parse(value.time) + {HOUR_MS}).toISOString();
             return value;
         }}"
    ))
    .await;
    tab.click("#toggle").await;
    tab.wait_for_text("#status-text", "Offline").await;
    tab.click("#toggle").await;
    tab.wait_until(&format!("{} === 0", feed_count("page-clock-asleep"))).await;
    tab.wait_for_text("#inbox-status", "The inbox is empty").await;
    tab.wait_until(&format!("{} === 1", feed_count("outlives the sleep"))).await;
}

#[tokio::test]
async fn reload_continues_the_life_of_messages() {
    let browser = Browser::open().await;
    let world = shared().await;
    let tab = browser.open_tab(&page_url(&world), WIDE).await;
    tab.wait_for_text("#status-text", "Live").await;
    // The services do not have these messages. The page restores them from its own storage alone.
    let restored = format!(
        "const {{ FeedPanel }} = await import('/page/panels/feed.js');
         const {{ Clock }} = await import('/page/clock.js');
         const create = () => new FeedPanel({{ urls: Promise.resolve({{}}), clock: new Clock() }});
         const now = Date.now();
         const message = (id, ttl) => ({{
             id, channel: 'lobby', text: id, created_at: new Date(now).toISOString(),
             expires_at: new Date(now + ttl * 1000).toISOString(),
         }});
         const panel = create();
         for (const [id, ttl] of [['short', 60], ['long', 7200]]) panel.showPosted(message(id, ttl));
         const saved = panel.serialize();
         const restore = (json) => {{
             const panel = create();
             panel.restore(json);
             return JSON.parse(panel.serialize()).messages
                 .map(({{ message, remainingMs }}) => [message.id, Math.round(remainingMs / 60_000)]);
         }};
         const immediately = restore(saved);
         Date.now = () => now + {HOUR_MS};
         const later = restore(saved);
         Date.now = () => now - {HOUR_MS};
         return [immediately, later, restore(saved), restore('[]'), restore(null)]"
    );
    let both = json!([["long", 120], ["short", 1]]);
    let expected = json!([both, [["long", 60]], both, [], []]);
    assert_eq!(tab.run(&restored).await, expected);
}

#[tokio::test]
async fn clocks_of_other_machines_do_not_change_the_life_of_a_message() {
    let browser = Browser::open().await;
    let world = shared().await;
    let tab = browser.open_tab(&page_url(&world), WIDE).await;
    let seconds = tab
        .run(
            "const { findExpiry } = await import('/page/ui/message.js');
             const live = (createdAt, expiresAt, server) => (findExpiry({
                 created_at: new Date(createdAt).toISOString(), expires_at: new Date(expiresAt).toISOString(),
             }, { elapsed: 5000, server }) - 5000) / 1000;
             const server = 1_700_000_000_000;
             return [
                 live(server, server + 60_000, server),
                 live(server - 20_000, server + 40_000, server),
                 live(server + 300_000, server + 360_000, server),
                 live(server - 300_000, server - 240_000, server),
                 live(server, server, server),
             ]",
        )
        .await;
    assert_eq!(seconds, json!([60, 40, 60, 60, 0]));
}
