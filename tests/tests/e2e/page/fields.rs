//! Errors of form fields.

use mayfly_tests::{Browser, Tab};
use serde_json::json;

use super::{NARROW, WIDE, page_url, shared};

/// Waits until a field shows exactly this error, is marked as invalid, has the focus and refers to
/// the error.
async fn wait_for_error(tab: &Tab, field: &str, error: &str) {
    let error = json!(error);
    tab.wait_until(&format!(
        "(() => {{
            const [field, error] = ['{field}', '{field}-error'].map((id) => document.getElementById(id));
            return error.textContent === {error} && !error.hidden && field.ariaInvalid === 'true' &&
                document.activeElement === field &&
                field.getAttribute('aria-describedby').split(' ').includes(error.id);
        }})()"
    ))
    .await;
}

#[tokio::test]
async fn field_errors_are_sentences_that_name_the_field_and_the_rule() {
    let browser = Browser::open().await;
    let world = shared().await;
    let tab = browser.open_tab(&page_url(&world), NARROW).await;
    tab.wait_for_text("#status-text", "Live").await;
    let invalid =
        "return [...document.querySelectorAll('#post [aria-invalid]')].map(({ id }) => id)";

    tab.click("#post button").await;
    wait_for_error(&tab, "text", "Message must not be empty.").await;
    tab.wait_for_text("#post-status", "The message was not posted").await;
    assert_eq!(tab.run(invalid).await, json!(["text"]));
    tab.fill("#text", "never accepted").await;
    tab.wait_until("document.querySelector('#text-error').hidden").await;

    tab.fill("#username", &"x".repeat(201)).await;
    tab.fill("#state", &"x".repeat(65)).await;
    tab.fill("#ttl", "99999999").await;
    tab.fill("#channel", "no blanks").await;
    tab.click("#post button").await;
    let rule = "Username must be 1 to 200 characters without control characters.";
    wait_for_error(&tab, "username", rule).await;
    let others = [
        ("state", "State must be 1 to 64 characters without U+0000."),
        ("channel", "Channel must be 1 to 64 characters of A-Z a-z 0-9 . _ : -"),
        ("ttl", "Time to live must be a whole number of seconds from 0 to 604800."),
    ];
    for (field, error) in others {
        let shown = format!("return document.querySelector('#{field}-error').textContent");
        assert_eq!(tab.run(&shown).await, error);
    }
    assert_eq!(tab.run(invalid).await, json!(["username", "state", "channel", "ttl"]));
    assert_eq!(tab.run("return document.querySelector('#text').value").await, "never accepted");
    for (field, value) in [("username", "page-fields"), ("state", "NY"), ("ttl", "1")] {
        tab.fill(&format!("#{field}"), value).await;
    }
    tab.fill("#channel", "lobby").await;
    tab.wait_until("!document.querySelector('#post [aria-invalid]')").await;
    tab.click("#post button").await;
    tab.wait_for_text("#post-status", "Accepted").await;

    tab.click("#inbox button[value=read]").await;
    wait_for_error(&tab, "inbox-username", "Username must not be empty.").await;
    tab.fill("#inbox-username", &"x".repeat(201)).await;
    tab.click("#inbox button[value=read]").await;
    wait_for_error(&tab, "inbox-username", rule).await;
    tab.fill("#rising-host", "no host/").await;
    tab.click("#rising-form button").await;
    let rule = "Host must be 1 to 253 characters of A-Z a-z 0-9 . - _ :";
    wait_for_error(&tab, "rising-host", rule).await;
}

#[tokio::test]
async fn invalid_channel_filter_changes_nothing() {
    let browser = Browser::open().await;
    let world = shared().await;
    let tab = browser.open_tab(&page_url(&world), WIDE).await;
    tab.wait_for_text("#status-text", "Live").await;
    let id = tab.run("return document.querySelector('#connection-id').textContent").await;
    tab.fill("#channels", "page-fields, a/b").await;
    tab.click("#filter button").await;
    let rule = "The channel “a/b” must be 1 to 64 characters of A-Z a-z 0-9 . _ : -";
    wait_for_error(&tab, "channels", rule).await;
    assert_eq!(tab.run("return document.querySelector('#connection-id').textContent").await, id);
    assert_eq!(
        tab.run("return document.querySelector('#channels').value").await,
        "page-fields, a/b"
    );
    tab.fill("#channels", "page-fields").await;
    tab.click("#filter button").await;
    tab.wait_until(&format!("document.querySelector('#connection-id').textContent !== {id}")).await;
    tab.wait_for_text("#status-text", "Live").await;
    // The message is not shown, and the page says why.
    tab.fill("#text", "posted to a hidden channel").await;
    tab.click("#post button").await;
    tab.wait_for_text("#post-status", "The channel filter of the live messages hides #lobby.")
        .await;
}
