//! Retries of requests whose outcome is unknown.

use mayfly_tests::{Browser, Tab, World};
use serde_json::json;

use super::{WIDE, feed_count, page_url, shared};

/// Executes the next two POST requests of the page, apart from heartbeats, but hides their
/// responses. The page observes a closed connection, then 503 `unavailable`.
const LOSE_RESPONSES: &str = "
    const send = window.fetch;
    const failures = [
        () => { throw new TypeError('the connection is closed'); },
        () => Response.json({ code: 'unavailable', detail: 'Unavailable.' }, { status: 503 }),
    ];
    window.lost = [];
    window.fetch = async (url, options) => {
        const response = await send(url, options);
        if (options?.method !== 'POST' || url.includes('/v1/visits')) return response;
        const fail = failures.shift();
        if (!fail) return response;
        lost.push(await response.json());
        return fail();
    }";

async fn open_page(browser: &Browser, world: &World) -> Tab {
    let tab = browser.open_tab(&page_url(world), WIDE).await;
    tab.wait_for_text("#status-text", "Live").await;
    tab.run(LOSE_RESPONSES).await;
    tab
}

/// Clicks a button until its request succeeds.
async fn click_until_response(tab: &Tab, button: &str, status: &str) {
    for failure in ["The service cannot be reached.", "Unavailable."] {
        tab.click(button).await;
        tab.wait_for_text(status, failure).await;
    }
    tab.click(button).await;
}

#[tokio::test]
async fn take_whose_response_was_lost_returns_the_messages_when_repeated() {
    let browser = Browser::open().await;
    let world = shared().await;
    let tab = open_page(&browser, &world).await;
    let message = json!({"text": "taken once", "username": "page-retries", "ttl": 600});
    world.post_message(&message).await;
    tab.fill("#inbox-username", "page-retries").await;
    click_until_response(&tab, "#inbox button[value=take]", "#inbox-username-error").await;
    tab.wait_for_text("#inbox-list", "taken once").await;
    tab.wait_for_text("#inbox-status", "Taken: 1 message").await;
    let sizes = tab.run("return lost.map(({ items }) => items.length)").await;
    assert_eq!(sizes, json!([1, 1]));
    // The next take is another request.
    tab.click("#inbox button[value=take]").await;
    tab.wait_for_text("#inbox-status", "The inbox is empty").await;
}

#[tokio::test]
async fn message_whose_response_was_lost_is_posted_once() {
    let browser = Browser::open().await;
    let world = shared().await;
    let tab = open_page(&browser, &world).await;
    tab.fill("#text", "posted once").await;
    click_until_response(&tab, "#post button", "#post-status").await;
    tab.wait_for_text("#post-status", "Accepted").await;
    let ids = "const url = document.querySelector('#post-status a').href;
        return [...new Set([...lost.map(({ id }) => id), url.split('/').at(-1)])].length";
    assert_eq!(tab.run(ids).await, 1);
    // The same text is posted again if the user enters it again.
    tab.fill("#text", "posted once").await;
    tab.click("#post button").await;
    tab.wait_until(&format!("{} === 2", feed_count("posted once"))).await;
}
