//! The page in a browser, with all of Mayfly behind it.

mod plays;
mod rising;
mod stats;

use mayfly_stack::Service;
use mayfly_tests::{Browser, PATIENCE, Setup, World, eventually, send_signal};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

const WIDE: u32 = 1280;
const NARROW: u32 = 390;

/// A Mayfly for all tests that have channels and usernames of their own.
async fn shared() -> World {
    static PAGE: OnceCell<World> = OnceCell::const_new();
    Setup::new().with(Service::WsFanout, 1).share(&PAGE).await
}

fn page(world: &World) -> String {
    world.url(Service::WsFanout, "/")
}

/// How often the feed shows a text.
fn times(text: &str) -> String {
    let text = json!(text);
    format!(
        "[...document.querySelectorAll('#feed .text')].filter((one) => one.textContent === {text}).length"
    )
}

#[tokio::test]
async fn what_is_posted_in_one_tab_is_seen_in_the_other() {
    let browser = Browser::open().await;
    let world = shared().await;
    let (one, other) =
        (browser.tab(&page(&world), WIDE).await, browser.tab(&page(&world), NARROW).await);
    for tab in [&one, &other] {
        tab.shows("#pill-text", "Live").await;
        assert_ne!(tab.run("return document.querySelector('#link-id').textContent").await, "–");
    }
    one.fill("#text", "seen in both").await;
    one.fill("#username", "page-fred").await;
    one.fill("#city", "New York").await;
    one.fill("#state", "NY").await;
    one.click("#write button").await;
    one.shows("#write-note", "Accepted").await;
    for tab in [&one, &other] {
        tab.until(&format!("{} === 1", times("seen in both"))).await;
        // Other tests post meanwhile, too: it need not be the first.
        tab.until(
            "[...document.querySelectorAll('#feed .message')].some((one) =>
                one.querySelector('.text')?.textContent === 'seen in both' &&
                one.querySelector('.name').textContent === 'page-fred' &&
                one.querySelector('.place').textContent === 'New York, NY')",
        )
        .await;
    }
    assert_eq!(one.run("return document.querySelector('#text').value").await, "");
    assert_eq!(other.run("return document.querySelector('#username').value").await, "");
}

#[tokio::test]
async fn what_was_posted_while_the_page_was_cut_off_arrives_when_it_is_back() {
    let browser = Browser::open().await;
    let world = Setup::new().with(Service::WsFanout, 1).start().await;
    let tab = browser.tab(&page(&world), WIDE).await;
    tab.shows("#pill-text", "Live").await;
    world.post_message(&json!({"text": "before", "ttl": 600})).await;
    tab.until(&format!("{} === 1", times("before"))).await;
    let id = tab.run("return document.querySelector('#link-id').textContent").await;

    let pid = world.stack.env().pids(Service::WsFanout)[0];
    send_signal(pid, Signal::SIGKILL);
    for text in ["meanwhile 1", "meanwhile 2", "meanwhile 3"] {
        world.post_message(&json!({"text": text, "ttl": 600})).await;
    }
    tab.shows("#link-resumed", "yes: 3 messages came meanwhile").await;
    tab.shows("#feed-notice", "Resumed: 3 messages").await;
    for text in ["before", "meanwhile 1", "meanwhile 2", "meanwhile 3"] {
        tab.until(&format!("{} === 1", times(text))).await;
    }
    tab.shows("#link-events", "Away").await;
    assert_ne!(tab.run("return document.querySelector('#link-id').textContent").await, id);
}

#[tokio::test]
async fn a_reload_goes_on_where_the_tab_was() {
    let browser = Browser::open().await;
    let world = shared().await;
    let tab = browser.tab(&page(&world), WIDE).await;
    tab.shows("#link-resumed", "first connection").await;
    world.post_message(&json!({"text": "kept over a reload", "ttl": 600})).await;
    tab.until(&format!("{} === 1", times("kept over a reload"))).await;
    tab.fill("#username", "kept").await;
    tab.fill("#text", "from here").await;
    tab.click("#write button").await;
    tab.until(&format!("{} === 1", times("from here"))).await;
    tab.reload().await;
    tab.shows("#link-resumed", "yes").await;
    for text in ["kept over a reload", "from here"] {
        tab.until(&format!("{} === 1", times(text))).await;
    }
    assert_eq!(tab.run("return document.querySelector('#username').value").await, "kept");
    // Another tab begins anew.
    let other = browser.tab(&page(&world), WIDE).await;
    other.shows("#link-resumed", "first connection").await;
}

#[tokio::test]
async fn a_taken_message_vanishes_from_the_other_tab() {
    let browser = Browser::open().await;
    let world = shared().await;
    let (taker, other) =
        (browser.tab(&page(&world), WIDE).await, browser.tab(&page(&world), WIDE).await);
    for tab in [&taker, &other] {
        tab.shows("#pill-text", "Live").await;
    }
    for text in ["for taking 1", "for taking 2"] {
        world.post_message(&json!({"username": "page/taken", "text": text, "ttl": 600})).await;
        other.until(&format!("{} === 1", times(text))).await;
    }
    taker.fill("#whose", "page/taken").await;
    taker.click("#inbox button[value=look]").await;
    taker.shows("#inbox-list", "for taking 2").await;
    // What comes while it is looked at is shown, too.
    world
        .post_message(&json!({"username": "page/taken", "text": "for taking 3", "ttl": 600}))
        .await;
    taker.shows("#inbox-list", "for taking 3").await;
    taker.shows("#inbox-note", "3 messages").await;
    taker.click("#inbox button[value=take]").await;
    other.shows("#feed", "taken or deleted").await;
    for text in ["for taking 1", "for taking 2", "for taking 3"] {
        other.until(&format!("{} === 0", times(text))).await;
        taker.shows("#inbox-list", text).await;
    }
    taker.shows("#inbox-note", "Taken: 3 messages").await;
    other.fill("#whose", "page/taken").await;
    other.click("#inbox button[value=look]").await;
    other.shows("#inbox-note", "Nothing in it").await;
}

#[tokio::test]
async fn an_expired_message_vanishes_by_itself() {
    let browser = Browser::open().await;
    let world = shared().await;
    let tab = browser.tab(&page(&world), WIDE).await;
    tab.shows("#pill-text", "Live").await;
    world.post_message(&json!({"text": "brief", "ttl": 2})).await;
    world.post_message(&json!({"text": "born over", "ttl": 0})).await;
    for text in ["brief", "born over"] {
        tab.until(&format!("{} === 1", times(text))).await;
    }
    for text in ["brief", "born over"] {
        tab.until(&format!("{} === 0", times(text))).await;
    }
}

#[tokio::test]
async fn what_people_type_is_text_and_breaks_no_layout() {
    let browser = Browser::open().await;
    let world = shared().await;
    let long = "x".repeat(4096);
    let nasty = [
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
        let tab = browser.tab(&page(&world), width).await;
        tab.shows("#pill-text", "Live").await;
        for message in &nasty {
            let posted = world.post_message(message).await;
            tab.until(&format!(
                "document.querySelector('#feed [data-id=\"{}\"]')",
                posted["id"].as_str().expect("it has an id")
            ))
            .await;
        }
        tab.until(&format!("{} >= 1", times(&long))).await;
        tab.until(&format!("{} >= 1", times(nasty[0]["text"].as_str().expect("it is text")))).await;
        tab.run("document.querySelectorAll('.unfold').forEach((button) => button.click())").await;
        tab.until("document.scrollingElement.scrollWidth <= innerWidth").await;
        let within =
            "[...document.querySelectorAll('.panel, .message, .message *')].every((one) => {
            const { left, right } = one.getBoundingClientRect();
            return left >= 0 && right <= innerWidth + 1;
        })";
        tab.until(within).await;
        let made =
            "return document.querySelectorAll('#feed script, #feed img, #feed b, #feed i').length";
        assert_eq!(tab.run(made).await, 0);
        assert_eq!(tab.run("return document.title").await, "Mayfly");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_post_stands_at_the_field() {
    let browser = Browser::open().await;
    let world = shared().await;
    let tab = browser.tab(&page(&world), NARROW).await;
    tab.shows("#pill-text", "Live").await;
    tab.fill("#text", "never accepted").await;
    tab.fill("#ttl", "99999999").await;
    tab.fill("#channel", "no blanks").await;
    tab.click("#write button").await;
    tab.shows("#ttl-error", "whole number").await;
    tab.until("document.querySelector('#channel-error').textContent !== ''").await;
    let state =
        "return ['ttl', 'channel', 'text'].map((id) => document.getElementById(id).ariaInvalid)";
    assert_eq!(tab.run(state).await, json!(["true", "true", null]));
    assert_eq!(tab.run("return document.activeElement.id").await, "channel");
    assert_eq!(tab.run("return document.querySelector('#text').value").await, "never accepted");
    tab.fill("#ttl", "1").await;
    tab.fill("#channel", "lobby").await;
    tab.until("!document.querySelector('#write [aria-invalid]')").await;
    tab.click("#write button").await;
    tab.shows("#write-note", "Accepted").await;
}

#[tokio::test]
async fn the_feed_shows_the_200_newest_and_only_the_channels_asked_for() {
    let browser = Browser::open().await;
    let world = Setup::new().with(Service::WsFanout, 1).start().await;
    let tab = browser.tab(&page(&world), WIDE).await;
    tab.shows("#pill-text", "Live").await;
    let id = tab.run("return document.querySelector('#link-id').textContent").await;
    tab.fill("#channels", "page-many, page-other").await;
    tab.click("#filter button").await;
    tab.until(&format!("document.querySelector('#link-id').textContent !== {id}")).await;
    tab.shows("#pill-text", "Live").await;
    let message = |n| json!({"text": format!("many {n}"), "channel": "page-many", "ttl": 600});
    let many: Vec<Value> = (0..250).map(message).collect();
    let answer = world.post("/v1/messages/batch", &many.into()).await;
    assert_eq!(answer.status(), 202);
    world.post_message(&json!({"text": "not asked for", "ttl": 600})).await;
    world.post_message(&json!({"text": "the last", "channel": "page-other", "ttl": 600})).await;
    tab.until(&format!("{} === 1", times("the last"))).await;
    tab.until("document.querySelectorAll('#feed > li').length === 200").await;
    tab.shows("#feed-more", "200 newest").await;
    let shown = tab.run("return document.querySelector('#feed').innerText").await.to_string();
    assert!(shown.contains("many 249") && !shown.contains("not asked for"));
}

#[tokio::test]
async fn mayfly_js_works_on_a_page_of_another_origin() {
    let browser = Browser::open().await;
    let world = shared().await;
    // Any document of another service will do.
    let tab = browser.tab(&world.list("/health"), WIDE).await;
    let live = world.url(Service::WsFanout, "");
    let classic = format!(
        "const script = document.createElement('script');
         script.src = '{live}/mayfly.js';
         await new Promise((done, failed) => {{
             Object.assign(script, {{ onload: done, onerror: failed }});
             document.documentElement.append(script);
         }});
         return [typeof mayfly.connect, typeof connect]"
    );
    assert_eq!(tab.run(&classic).await, json!(["function", "undefined"]), "as a script");
    let module = format!(
        "delete globalThis.mayfly;
         const module = await import('{live}/mayfly.js');
         return [typeof module.connect, module.default === globalThis.mayfly]"
    );
    assert_eq!(tab.run(&module).await, json!(["function", true]), "as a module");

    let channel = "page-foreign";
    tab.run(&format!(
        "globalThis.heard = [];
         const live = mayfly.connect({{ url: '{live}', channels: ['{channel}'] }});
         live.on('message', ({{ text }}) => heard.push(text));
         live.on('expired', ({{ by_time }}) => heard.push(by_time));
         live.on('state', ({{ state }}) => heard.push(state));
         globalThis.live = live"
    ))
    .await;
    tab.until("heard.includes('open')").await;
    assert_eq!(tab.run("return live.subscribe('page-second')").await, true);
    world.post_message(&json!({"text": "first", "channel": channel, "ttl": 600})).await;
    world.post_message(&json!({"text": "second", "channel": "page-second", "ttl": 1})).await;
    world.post_message(&json!({"text": "third", "channel": "page-none", "ttl": 600})).await;
    tab.until("heard.includes('second') && heard.includes(true)").await;
    tab.run("live.close()").await;
    let heard = json!(["connecting", "open", "first", "second", true, "closed"]);
    assert_eq!(tab.run("return heard").await, heard);

    // It goes on from a position that somebody else was given.
    let position = tab.run("return live.position").await;
    world.post_message(&json!({"text": "fourth", "channel": channel, "ttl": 600})).await;
    let again = format!(
        "const live = mayfly.connect({{ url: '{live}', channels: '{channel}', since: {position} }});
         const resumed = new Promise((done) => live.on('resumed', ({{ resumed }}) => done(resumed)));
         const message = new Promise((done) => live.on('message', ({{ text }}) => done(text)));
         const both = await Promise.all([resumed, message]);
         live.close();
         return both"
    );
    assert_eq!(tab.run(&again).await, json!([true, "fourth"]));
}

#[tokio::test]
async fn a_page_without_a_server_says_so_and_comes_back() {
    let browser = Browser::open().await;
    let setup = Setup::new().with(Service::WsFanout, 1).set("MAYFLY_FANOUT__DRAIN", "1s");
    let world = setup.start().await;
    let tab = browser.tab(&page(&world), NARROW).await;
    tab.shows("#pill-text", "Live").await;
    world.stack.stop(Service::WsFanout).await.expect("it stops");
    tab.shows("#pill-text", "Back in").await;
    tab.shows("#link-state", "Away").await;
    let posted = world.post_message(&json!({"text": "while nobody listened", "ttl": 600})).await;
    world.stack.start(Service::WsFanout).await.expect("it starts");
    tab.until(&format!("{} === 1", times("while nobody listened"))).await;
    tab.shows("#link-resumed", "yes: 1 message").await;
    // Stored is what is offered for reading.
    let path = format!("/v1/messages/{}", posted["id"].as_str().expect("it has an id"));
    eventually(PATIENCE, "it is read by id", async || match world.get(&path).await {
        (200, message) => Ok(message),
        other => Err(other),
    })
    .await;
}
