//! The page of a server that requires credentials.

use mayfly_tests::{Browser, Tab};
use serde_json::{Value, json};

use super::{NARROW, WIDE, page_url};
use crate::access::{create_operator, shared};

/// An expression that is true while the page asks for a key.
const IS_ASKING: &str = "document.querySelector('#access').open";
/// An expression with the stored key.
const STORED: &str = "return sessionStorage.getItem('mayfly.credentials')";

async fn enter_key(tab: &Tab, key: &str) {
    tab.fill("#access-key", key).await;
    tab.click("#access-form button[type=submit]").await;
}

#[tokio::test]
async fn page_asks_for_a_key_and_keeps_it_in_its_tab() {
    let browser = Browser::open().await;
    let world = shared().await;
    let key = create_operator(&world).await;
    let tab = browser.open_tab(&page_url(&world), NARROW).await;
    tab.wait_until(IS_ASKING).await;
    tab.wait_for_text("#access-reason", "requires an API key or a token").await;
    tab.wait_for_text("#connection-state", "4502").await;
    tab.wait_for_text("#access-state", "no key or token").await;
    assert_eq!(tab.run("return document.activeElement.id").await, "access-key");
    enter_key(&tab, "two words").await;
    tab.wait_for_text("#access-key-error", "Key or token must be").await;
    assert_eq!(tab.run(STORED).await, Value::Null);
    enter_key(&tab, "mf_unknown").await;
    tab.wait_for_text("#access-reason", "does not accept").await;
    tab.wait_until(IS_ASKING).await;

    enter_key(&tab, &format!(" {key} ")).await;
    tab.wait_for_text("#status-text", "Live").await;
    tab.wait_for_text("#access-state", "with API key").await;
    tab.wait_until(&format!("!{IS_ASKING}")).await;
    assert_eq!(tab.run(STORED).await, key);
    let elsewhere = "return [document.querySelector('#access-key').value, document.cookie,
        JSON.stringify(localStorage), document.body.innerHTML.includes('mf_')]";
    assert_eq!(tab.run(elsewhere).await, json!(["", "", "{}", false]));

    tab.fill("#text", "posted with a key").await;
    tab.fill("#username", "page-access").await;
    tab.click("#post button").await;
    tab.wait_for_text("#post-status", "Accepted").await;
    tab.wait_until("!document.querySelector('#post-status a')").await;
    tab.fill("#inbox-username", "page-access").await;
    tab.click("#inbox button[value=read]").await;
    tab.wait_for_text("#inbox-list", "posted with a key").await;
    tab.wait_for_text("#feed", "posted with a key").await;

    tab.reload().await;
    tab.wait_for_text("#status-text", "Live").await;
    assert_eq!(tab.run(&format!("return {IS_ASKING}")).await, false);
    let other = browser.open_tab(&page_url(&world), WIDE).await;
    other.wait_until(IS_ASKING).await;
}

#[tokio::test]
async fn forgotten_key_is_removed_with_everything_that_was_received() {
    let browser = Browser::open().await;
    let world = shared().await;
    let key = create_operator(&world).await;
    let tab = browser.open_tab(&page_url(&world), WIDE).await;
    tab.wait_until(IS_ASKING).await;
    enter_key(&tab, &key).await;
    tab.wait_for_text("#status-text", "Live").await;
    let secret = json!({"text": "only for holders of a key", "ttl": 600});
    let post = world.http.post(world.ingest_url("/v1/messages")).bearer_auth(&key).json(&secret);
    assert_eq!(post.send().await.expect("a response").status(), 202);
    tab.wait_for_text("#feed", "only for holders of a key").await;

    tab.run("window.isOld = true").await;
    tab.click("#access-forget").await;
    tab.wait_until(&format!("!window.isOld && document.readyState === 'complete' && {IS_ASKING}"))
        .await;
    let rest = "return ['credentials', 'messages', 'position']
        .map((name) => sessionStorage.getItem(`mayfly.${name}`))";
    assert_eq!(tab.run(rest).await, json!([null, null, null]));
    let feed = "return document.querySelector('#feed').textContent";
    assert_eq!(tab.run(feed).await, "");
    assert_eq!(tab.run("return document.querySelector('#access-forget').hidden").await, true);
}

#[tokio::test]
async fn closed_dialog_opens_again_when_the_user_connects_or_posts() {
    let browser = Browser::open().await;
    let world = shared().await;
    let tab = browser.open_tab(&page_url(&world), WIDE).await;
    tab.wait_until(IS_ASKING).await;
    for action in ["#toggle", "#access-enter"] {
        tab.click("#access-cancel").await;
        tab.wait_until(&format!("!{IS_ASKING}")).await;
        tab.click(action).await;
        tab.wait_until(IS_ASKING).await;
    }
    tab.click("#access-cancel").await;
    tab.wait_until(&format!("!{IS_ASKING}")).await;
    tab.fill("#text", "not accepted yet").await;
    tab.click("#post button").await;
    tab.wait_until(IS_ASKING).await;
    // The request is sent with the key.
    enter_key(&tab, &create_operator(&world).await).await;
    tab.wait_for_text("#post-status", "Accepted").await;
    tab.wait_for_text("#feed", "not accepted yet").await;
}

#[tokio::test]
async fn page_asks_again_when_its_key_is_revoked() {
    const REVOKE: &str =
        "UPDATE api_keys SET revoked_at = now() WHERE hash = sha256(convert_to($1, 'UTF8'))";
    let browser = Browser::open().await;
    let world = shared().await;
    let key = create_operator(&world).await;
    let tab = browser.open_tab(&page_url(&world), WIDE).await;
    tab.wait_until(IS_ASKING).await;
    enter_key(&tab, &key).await;
    tab.wait_for_text("#status-text", "Live").await;
    tab.wait_until(&format!("!{IS_ASKING}")).await;
    let revoked = world.postgres().await.execute(REVOKE, &[&key]).await;
    assert_eq!(revoked.expect("Postgres is available"), 1);
    tab.wait_for_text("#connection-state", "4503").await;
    tab.wait_until(IS_ASKING).await;
    tab.wait_for_text("#access-reason", "does not accept").await;
    enter_key(&tab, &create_operator(&world).await).await;
    tab.wait_for_text("#status-text", "Live").await;
}

#[tokio::test]
async fn page_of_an_open_server_does_not_ask() {
    let browser = Browser::open().await;
    let world = super::shared().await;
    let tab = browser.open_tab(&page_url(&world), WIDE).await;
    tab.wait_for_text("#status-text", "Live").await;
    tab.wait_for_text("#access-state", "no key or token").await;
    tab.fill("#inbox-username", "page-access-open").await;
    tab.click("#inbox button[value=read]").await;
    tab.wait_for_text("#inbox-status", "The inbox is empty").await;
    assert_eq!(tab.run(&format!("return {IS_ASKING}")).await, false);
}
