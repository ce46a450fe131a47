//! The panel of live messages: its size, its scroll position and its figures at any rate.

use std::ops::Range;

use mayfly_stack::Service;
use mayfly_tests::{Browser, Setup, Tab, World, message_id};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{WIDE, feed_count, page_url};

/// The number of cards that the page creates before it is scrolled.
const CARDS: usize = 50;

/// Returns the stack shared by the tests of this file, each with its own channel.
async fn shared() -> World {
    static FEED: OnceCell<World> = OnceCell::const_new();
    Setup::new().scale(Service::WsFanout, 1).share(&FEED).await
}

/// Opens the page and selects a channel.
async fn open(browser: &Browser, world: &World, channel: &str) -> Tab {
    let tab = browser.open_tab(&page_url(world), WIDE).await;
    tab.wait_for_text("#status-text", "Live").await;
    let id = tab.run("return document.querySelector('#connection-id').textContent").await;
    tab.fill("#channels", channel).await;
    tab.click("#filter button").await;
    tab.wait_until(&format!(
        "!['–', {id}].includes(document.querySelector('#connection-id').textContent)"
    ))
    .await;
    tab.wait_for_text("#status-text", "Live").await;
    tab
}

/// Posts messages with the texts `<name> <number>` in one batch.
async fn post_batch(world: &World, channel: &str, name: &str, numbers: Range<usize>) {
    let message =
        |number| json!({"text": format!("{name} {number}"), "channel": channel, "ttl": 600});
    let batch: Vec<Value> = numbers.map(message).collect();
    assert_eq!(world.post("/v1/messages/batch", &batch.into()).await.status(), 202);
}

/// An expression for the number of messages that the page has received.
const RECEIVED: &str =
    "Number(document.querySelector('#feed-received').textContent.replace(/[^0-9]/g, ''))";

/// An expression for the number of cards.
const CARD_COUNT: &str = "document.querySelectorAll('#feed > li').length";

#[tokio::test]
async fn feed_under_load_is_opaque_bounded_and_counts_every_message() {
    let browser = Browser::open().await;
    let world = shared().await;
    let channel = "page-load";
    let tab = open(&browser, &world, channel).await;
    // Before it selected the channel, the page received the messages of other tests. The page
    // updates the figure once per second, so this waits for the next update.
    tab.run("document.querySelector('#feed-received').textContent = ''").await;
    tab.wait_for_text("#feed-received", "received").await;
    tab.run(&format!("window.receivedBefore = {RECEIVED}")).await;
    tab.run(
        "window.seen = { cards: 0, opacity: 1, updates: 0, announcements: 0, startedAt: performance.now() };
         const list = document.querySelector('#feed');
         const scroller = document.querySelector('#feed-scroll');
         new MutationObserver(() => seen.updates++).observe(list, { childList: true });
         new MutationObserver(() => seen.announcements++).observe(
             document.querySelector('#feed-announcer'), { childList: true });
         const look = () => {
             const { bottom } = scroller.getBoundingClientRect();
             const cards = [...list.children];
             seen.cards = Math.max(seen.cards, cards.length);
             for (const card of cards) {
                 if (card.getBoundingClientRect().top > bottom) break;
                 seen.opacity = Math.min(seen.opacity, getComputedStyle(card).opacity);
             }
             requestAnimationFrame(look);
         };
         look();",
    )
    .await;
    for batch in 0..40 {
        post_batch(&world, channel, "load", 50 * batch..50 * (batch + 1)).await;
        // Plays are not messages.
        world.play(&["page-load-1", "page-load-2"]).await;
    }
    tab.wait_until(&format!("{RECEIVED} - receivedBefore === 2000")).await;
    tab.wait_for_text("#feed-received", "messages received").await;
    tab.wait_until(&format!("{} === 1", feed_count("load 1999"))).await;
    tab.wait_for_text("#feed-count", "Newest 200 live messages").await;
    tab.wait_for_text("#feed-announcer", "new messages").await;
    let seen = tab.run("return { ...seen, ms: performance.now() - seen.startedAt }").await;
    assert_eq!(seen["opacity"], 1, "{seen}");
    assert_eq!(seen["cards"], CARDS, "{seen}");
    let ms = seen["ms"].as_f64().expect("the duration is a number");
    let updates = seen["updates"].as_f64().expect("the number of updates is a number");
    assert!(updates <= ms / 350.0 + 2.0, "at most three updates per second: {seen}");
    let announcements = seen["announcements"].as_f64().expect("a number");
    assert!(announcements <= ms / 6_000.0 + 1.0, "{seen}");
    tab.wait_for_text("#feed-rate", "messages per second").await;
    // The health panel says that its rates include plays.
    let label =
        "return document.querySelector('#pulse-accepted').previousElementSibling.textContent";
    assert_eq!(tab.run(label).await, "messages and plays accepted per second");
}

#[tokio::test]
async fn scrolled_feed_keeps_its_place_and_leads_to_new_messages() {
    let browser = Browser::open().await;
    let world = shared().await;
    let channel = "page-scroll";
    let tab = open(&browser, &world, channel).await;
    post_batch(&world, channel, "old", 0..40).await;
    let last = json!({"text": "deleted", "channel": channel, "ttl": 600});
    let deleted = world.post_message(&last).await;
    tab.wait_until(&format!("{CARD_COUNT} === 41")).await;
    tab.run(
        "const scroller = document.querySelector('#feed-scroll');
         scroller.scrollTop = 900;
         await new Promise((done) => scroller.addEventListener('scroll', done, { once: true }));
         const { top } = scroller.getBoundingClientRect();
         const card = [...document.querySelectorAll('#feed > li')]
             .find((card) => card.getBoundingClientRect().top >= top);
         const place = card.getBoundingClientRect().top;
         // Browsers may round scroll positions.
         window.isInPlace = () => card.isConnected && Math.abs(card.getBoundingClientRect().top - place) < 2",
    )
    .await;

    post_batch(&world, channel, "new", 0..5).await;
    tab.wait_until("document.querySelector('#feed-new').textContent === '5 new messages'").await;
    tab.wait_until("!document.querySelector('#feed-new').hidden").await;
    let state = format!("return [isInPlace(), {CARD_COUNT}]");
    assert_eq!(tab.run(&state).await, json!([true, 41]));
    // A message above is removed.
    let path = format!("/v1/messages/{}", message_id(&deleted));
    let response = world.http.delete(world.list_url(&path)).send().await;
    assert_eq!(response.expect("list-api responds").status(), 204);
    tab.wait_until(&format!("{CARD_COUNT} === 40")).await;
    assert_eq!(tab.run(&state).await, json!([true, 40]));

    tab.click("#feed-new").await;
    tab.wait_until(&format!("{CARD_COUNT} === 45")).await;
    let top = "[document.querySelector('#feed-scroll').scrollTop, document.querySelector('#feed .text').textContent,
        document.querySelector('#feed-new').hidden]";
    assert_eq!(tab.run(&format!("return {top}")).await, json!([0, "new 4", true]));

    // Posting a message scrolls to the top.
    tab.run(
        "const scroller = document.querySelector('#feed-scroll');
         scroller.scrollTop = 900;
         await new Promise((done) => scroller.addEventListener('scroll', done, { once: true }))",
    )
    .await;
    tab.fill("#channel", channel).await;
    tab.fill("#text", "from here").await;
    tab.click("#post button").await;
    tab.wait_for_text("#post-status", "It is at the top of the live messages.").await;
    assert_eq!(tab.run(&format!("return {top}")).await, json!([0, "from here", true]));
    tab.wait_for_text("#feed .own", "your message").await;
    tab.wait_until(&format!("{} === 1", feed_count("from here"))).await;
}

#[tokio::test]
async fn focused_card_is_not_replaced() {
    let browser = Browser::open().await;
    let world = shared().await;
    let channel = "page-focus";
    let tab = open(&browser, &world, channel).await;
    let long = json!({"text": "long\n".repeat(50), "channel": channel, "ttl": 600});
    world.post_message(&long).await;
    tab.wait_until("document.querySelector('#feed .expand')").await;
    tab.run("document.querySelector('#feed .expand').focus()").await;
    for batch in 0..5 {
        post_batch(&world, channel, "next", 60 * batch..60 * (batch + 1)).await;
    }
    tab.wait_until("document.querySelector('#feed-new').textContent === '300 new messages'").await;
    assert_eq!(tab.run("return document.activeElement.className").await, "expand");
    assert_eq!(tab.run(&format!("return {CARD_COUNT}")).await, 1);
    tab.run("document.querySelector('#feed-new').focus()").await;
    tab.click("#feed-new").await;
    tab.wait_until(&format!("{CARD_COUNT} === {CARDS}")).await;
    assert_eq!(tab.run("return document.activeElement.id").await, "feed-scroll");
}

#[tokio::test]
async fn feed_lists_the_newest_200_messages_of_the_selected_channels() {
    let browser = Browser::open().await;
    let world = shared().await;
    let tab = open(&browser, &world, "page-many, page-other").await;
    post_batch(&world, "page-many", "many", 0..250).await;
    world.post_message(&json!({"text": "not selected", "channel": "page-none", "ttl": 600})).await;
    world.post_message(&json!({"text": "the last", "channel": "page-other", "ttl": 600})).await;
    tab.wait_until(&format!("{} === 1", feed_count("the last"))).await;
    tab.wait_until(&format!("{CARD_COUNT} === {CARDS}")).await;
    // Older messages get cards when the end of the list is near.
    let scroll = "document.querySelector('#feed-scroll').scrollTop = 1e6";
    tab.wait_until(&format!("({scroll}, {CARD_COUNT} === 200)")).await;
    tab.wait_for_text("#feed-more", "newest 200").await;
    tab.wait_until("document.querySelector('#feed-older').hidden").await;
    let shown = tab.run("return document.querySelector('#feed').textContent").await.to_string();
    assert!(shown.contains("many 249") && shown.contains("many 51") && !shown.contains("many 50"));
    assert!(!shown.contains("not selected"));
    tab.run("document.querySelector('#feed-scroll').scrollTop = 0").await;
    tab.wait_until(&format!("{CARD_COUNT} === {CARDS}")).await;
}

#[tokio::test]
async fn own_message_stays_at_the_top_for_ten_seconds() {
    let browser = Browser::open().await;
    let world = shared().await;
    let tab = browser.open_tab(&page_url(&world), WIDE).await;
    let texts = tab
        .run(
            "const { MessageList } = await import('/page/feed/list.js');
             const list = new MessageList();
             const add = (id, order) => list.add({ id }, { order, expiresAt: Infinity });
             const first = () => list.entries[0].message.id;
             const now = performance.now();
             const seen = [];
             for (let order = 0; order < 300; order++) add(`before ${order}`, order);
             add('own', 300);
             list.pin('own');
             list.merge();
             seen.push(first());
             for (let order = 301; order < 303; order++) add(`after ${order}`, order);
             list.merge();
             seen.push(first(), list.entries[2].message.id);
             for (let order = 303; order < 900; order++) add(`after ${order}`, order);
             list.merge();
             seen.push(first(), list.entries[1].message.id, list.entries.length);
             performance.now = () => now + 11_000;
             list.merge();
             seen.push(first());
             for (let order = 900; order < 1200; order++) add(`after ${order}`, order);
             list.merge();
             return [...seen, first(), list.get('own') === undefined, [...list.all()].length]",
        )
        .await;
    let expected = json!([
        "own",
        "after 302",
        "own",
        "own",
        "after 899",
        200,
        "after 899",
        "after 1199",
        true,
        200
    ]);
    assert_eq!(texts, expected);
}
