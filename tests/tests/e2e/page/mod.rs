//! The web page in a browser, with all services running.

mod access;
mod clock;
mod feed;
mod fields;
mod load;
mod plays;
mod retries;
mod rising;
mod stats;

use mayfly_stack::Service;
use mayfly_tests::{Browser, DEFAULT_TIMEOUT, Setup, World, eventually, send_signal};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::sync::OnceCell;

const WIDE: u32 = 1280;
const NARROW: u32 = 390;

/// Returns the stack shared by all tests that use their own channels and usernames.
async fn shared() -> World {
    static PAGE: OnceCell<World> = OnceCell::const_new();
    Setup::new().scale(Service::WsFanout, 1).share(&PAGE).await
}

fn page_url(world: &World) -> String {
    world.url(Service::WsFanout, "/")
}

/// Returns an expression that counts the messages with this text in the feed.
fn feed_count(text: &str) -> String {
    let text = json!(text);
    format!(
        "[...document.querySelectorAll('#feed .text')].filter((element) => element.textContent === {text}).length"
    )
}

#[tokio::test]
async fn message_posted_in_one_tab_appears_in_another() {
    let browser = Browser::open().await;
    let world = shared().await;
    let (one, other) = (
        browser.open_tab(&page_url(&world), WIDE).await,
        browser.open_tab(&page_url(&world), NARROW).await,
    );
    for tab in [&one, &other] {
        tab.wait_for_text("#status-text", "Live").await;
        assert_ne!(
            tab.run("return document.querySelector('#connection-id').textContent").await,
            "–"
        );
    }
    one.fill("#text", "seen in both").await;
    one.fill("#username", "page-fred").await;
    one.fill("#city", "New York").await;
    one.fill("#state", "NY").await;
    one.click("#post button").await;
    one.wait_for_text("#post-status", "Accepted").await;
    for tab in [&one, &other] {
        tab.wait_until(&format!("{} === 1", feed_count("seen in both"))).await;
        // Other tests post concurrently, so the message may not be the first.
        tab.wait_until(
            "[...document.querySelectorAll('#feed .message')].some((element) =>
                element.querySelector('.text')?.textContent === 'seen in both' &&
                element.querySelector('.name').textContent === 'page-fred' &&
                element.querySelector('.place').textContent === 'New York, NY')",
        )
        .await;
    }
    assert_eq!(one.run("return document.querySelector('#text').value").await, "");
    assert_eq!(other.run("return document.querySelector('#username').value").await, "");
}

#[tokio::test]
async fn messages_posted_while_disconnected_arrive_after_reconnecting() {
    let browser = Browser::open().await;
    let world = Setup::new().scale(Service::WsFanout, 1).start().await;
    let tab = browser.open_tab(&page_url(&world), WIDE).await;
    tab.wait_for_text("#status-text", "Live").await;
    world.post_message(&json!({"text": "before", "ttl": 600})).await;
    tab.wait_until(&format!("{} === 1", feed_count("before"))).await;
    let id = tab.run("return document.querySelector('#connection-id').textContent").await;

    let pid = world.stack.env().pids(Service::WsFanout)[0];
    send_signal(pid, Signal::SIGKILL);
    for text in ["missed 1", "missed 2", "missed 3"] {
        world.post_message(&json!({"text": text, "ttl": 600})).await;
    }
    tab.wait_for_text("#connection-resumed", "yes: 3 missed messages received").await;
    tab.wait_for_text("#feed-notice", "Resumed: 3 missed messages").await;
    for text in ["before", "missed 1", "missed 2", "missed 3"] {
        tab.wait_until(&format!("{} === 1", feed_count(text))).await;
    }
    tab.wait_for_text("#connection-events", "Disconnected (").await;
    assert_ne!(tab.run("return document.querySelector('#connection-id').textContent").await, id);
}

#[tokio::test]
async fn reload_resumes_from_the_position_of_the_tab() {
    let browser = Browser::open().await;
    let world = shared().await;
    let tab = browser.open_tab(&page_url(&world), WIDE).await;
    tab.wait_for_text("#connection-resumed", "first connection").await;
    world.post_message(&json!({"text": "kept over a reload", "ttl": 600})).await;
    tab.wait_until(&format!("{} === 1", feed_count("kept over a reload"))).await;
    tab.fill("#username", "kept").await;
    tab.fill("#text", "from here").await;
    tab.click("#post button").await;
    tab.wait_until(&format!("{} === 1", feed_count("from here"))).await;
    tab.reload().await;
    tab.wait_for_text("#connection-resumed", "yes").await;
    for text in ["kept over a reload", "from here"] {
        tab.wait_until(&format!("{} === 1", feed_count(text))).await;
    }
    assert_eq!(tab.run("return document.querySelector('#username').value").await, "kept");
    // Another tab starts without a position.
    let other = browser.open_tab(&page_url(&world), WIDE).await;
    other.wait_for_text("#connection-resumed", "first connection").await;
}

#[tokio::test]
async fn taken_message_disappears_from_other_tabs() {
    let browser = Browser::open().await;
    let world = shared().await;
    let (taker, other) = (
        browser.open_tab(&page_url(&world), WIDE).await,
        browser.open_tab(&page_url(&world), WIDE).await,
    );
    for tab in [&taker, &other] {
        tab.wait_for_text("#status-text", "Live").await;
    }
    for text in ["for taking 1", "for taking 2"] {
        world.post_message(&json!({"username": "page/taken", "text": text, "ttl": 600})).await;
        other.wait_until(&format!("{} === 1", feed_count(text))).await;
    }
    taker.fill("#inbox-username", "page/taken").await;
    taker.click("#inbox button[value=read]").await;
    taker.wait_for_text("#inbox-list", "for taking 2").await;
    // A message that arrives later is added.
    world
        .post_message(&json!({"username": "page/taken", "text": "for taking 3", "ttl": 600}))
        .await;
    taker.wait_for_text("#inbox-list", "for taking 3").await;
    taker.wait_for_text("#inbox-status", "3 messages").await;
    taker.click("#inbox button[value=take]").await;
    other.wait_for_text("#feed", "taken or deleted").await;
    for text in ["for taking 1", "for taking 2", "for taking 3"] {
        other.wait_until(&format!("{} === 0", feed_count(text))).await;
        taker.wait_for_text("#inbox-list", text).await;
    }
    taker.wait_for_text("#inbox-status", "Taken: 3 messages").await;
    other.fill("#inbox-username", "page/taken").await;
    other.click("#inbox button[value=read]").await;
    other.wait_for_text("#inbox-status", "The inbox is empty").await;
}

#[tokio::test]
async fn expired_message_disappears() {
    let browser = Browser::open().await;
    let world = shared().await;
    let tab = browser.open_tab(&page_url(&world), WIDE).await;
    tab.wait_for_text("#status-text", "Live").await;
    world.post_message(&json!({"text": "brief", "ttl": 2})).await;
    world.post_message(&json!({"text": "born expired", "ttl": 0})).await;
    for text in ["brief", "born expired"] {
        tab.wait_until(&format!("{} === 1", feed_count(text))).await;
    }
    for text in ["brief", "born expired"] {
        tab.wait_until(&format!("{} === 0", feed_count(text))).await;
    }
}

#[tokio::test]
async fn user_input_is_text_and_does_not_break_the_layout() {
    let browser = Browser::open().await;
    let world = shared().await;
    let long = "x".repeat(4096);
    let hostile = [
        json!({"text": "<script>document.title = 'broken'</script><img src=x onerror=\"document.title = 'broken'\">",
               "username": "<b>bold</b>", "city": "<i>", "state": "\"'&"}),
        json!({"text": long, "username": "W".repeat(200), "city": "C".repeat(64), "state": "S".repeat(64),
               "channel": "c".repeat(64)}),
        json!({"text": "مرحبا بالعالم (with English) 123.", "username": "محمد", "city": "القاهرة"}),
        json!({"text": "\u{202e}right to left, never closed", "username": "\u{2067}\u{202e}x"}),
        json!({"text": "🦋".repeat(500), "username": "👩‍👩‍👧‍👦"}),
        json!({"text": format!("Z{}", "\u{301}\u{316}".repeat(300)), "username": "\u{200b}"}),
        json!({"text": "line\n".repeat(300)}),
        json!({"data": {"k".repeat(500): ["v".repeat(3000), {"deep": [[[["</script>"]]]]}]}}),
    ];
    for width in [NARROW, WIDE] {
        let tab = browser.open_tab(&page_url(&world), width).await;
        tab.wait_for_text("#status-text", "Live").await;
        for message in &hostile {
            let posted = world.post_message(message).await;
            tab.wait_until(&format!(
                "document.querySelector('#feed [data-id=\"{}\"]')",
                posted["id"].as_str().expect("the message has an ID")
            ))
            .await;
        }
        tab.wait_until(&format!("{} >= 1", feed_count(&long))).await;
        tab.wait_until(&format!(
            "{} >= 1",
            feed_count(hostile[0]["text"].as_str().expect("the text is a string"))
        ))
        .await;
        tab.run("document.querySelectorAll('.expand').forEach((button) => button.click())").await;
        tab.wait_until("document.scrollingElement.scrollWidth <= innerWidth").await;
        let fits =
            "[...document.querySelectorAll('.panel, .message, .message *')].every((element) => {
            const { left, right } = element.getBoundingClientRect();
            return left >= 0 && right <= innerWidth + 1;
        })";
        tab.wait_until(fits).await;
        let injected =
            "return document.querySelectorAll('#feed script, #feed img, #feed b, #feed i').length";
        assert_eq!(tab.run(injected).await, 0);
        assert_eq!(tab.run("return document.title").await, "Mayfly");
    }
}

#[tokio::test]
async fn page_shows_an_outage_and_reconnects() {
    let browser = Browser::open().await;
    let setup = Setup::new().scale(Service::WsFanout, 1).set("MAYFLY_FANOUT__DRAIN", "1s");
    let world = setup.start().await;
    let tab = browser.open_tab(&page_url(&world), NARROW).await;
    tab.wait_for_text("#status-text", "Live").await;
    world.stack.stop(Service::WsFanout).await.expect("the service stops");
    tab.wait_for_text("#status-text", "Reconnecting in").await;
    tab.wait_for_text("#connection-state", "Disconnected (").await;
    let posted = world.post_message(&json!({"text": "during the outage", "ttl": 600})).await;
    world.stack.start(Service::WsFanout).await.expect("the service starts");
    tab.wait_until(&format!("{} === 1", feed_count("during the outage"))).await;
    tab.wait_for_text("#connection-resumed", "yes: 1 missed message").await;
    // The page offers a link to the message by ID.
    let path = format!("/v1/messages/{}", posted["id"].as_str().expect("the message has an ID"));
    eventually(DEFAULT_TIMEOUT, "the message is readable by ID", async || {
        match world.get(&path).await {
            (200, message) => Ok(message),
            other => Err(other),
        }
    })
    .await;
}
