//! The browsable document in a browser, which reaches nothing but the two APIs.

use mayfly_stack::Service;
use mayfly_tests::{Browser, Setup, Tab, World};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

const WIDE: u32 = 1280;

async fn shared() -> World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    Setup::new().share(&WORLD).await
}

/// Sends a message from the page, by what it shows for `POST /v1/messages`.
async fn post_from(tab: &Tab, ingest_url: &str, username: &str) {
    tab.click("#operations-messages-post_message .opblock-summary-control").await;
    tab.until("document.querySelector('#operations-messages-post_message .try-out__btn')").await;
    tab.click("#operations-messages-post_message .try-out__btn").await;
    let body = json!({"username": username, "text": "by hand"}).to_string();
    tab.until("document.querySelector('textarea.body-param__text')").await;
    tab.shows("#operations-messages-post_message .operation-servers", ingest_url).await;
    tab.fill("textarea.body-param__text", &body).await;
    tab.click("#operations-messages-post_message .btn.execute").await;
    tab.shows("#operations-messages-post_message .live-responses-table", "202").await;
}

/// Whatever the page asked for, and whatever it was not allowed to do.
async fn asked_of(tab: &Tab) -> (Vec<String>, Value) {
    let asked =
        tab.run("return performance.getEntriesByType('resource').map((entry) => entry.name)").await;
    let asked = asked.as_array().cloned().unwrap_or_default();
    let forbidden = tab
        .run(
            "return await new Promise((done) => {
                 const seen = (reports) => done(reports.map((report) => report.body.blockedURL));
                 new ReportingObserver(seen, {types: ['csp-violation'], buffered: true}).observe();
                 setTimeout(() => done([]), 300);
             })",
        )
        .await;
    (asked.iter().filter_map(|url| url.as_str().map(str::to_owned)).collect(), forbidden)
}

#[tokio::test]
async fn a_message_is_sent_from_the_page_of_either_api_and_nobody_else_is_asked() {
    let browser = Browser::open().await;
    let world = shared().await;
    let apis = [Service::ListApi, Service::IngestApi];
    let origins = apis.map(|service| world.url(service, "/"));
    for service in apis {
        let username = format!("page-of-{}", service.name());
        let tab = browser.tab(&world.url(service, "/docs"), WIDE).await;
        tab.shows("h1, h2", "Mayfly API").await;
        assert_eq!(tab.run("return document.title").await, "Mayfly API");
        post_from(&tab, &world.ingest(""), &username).await;
        let items = world.take(&username).await;
        assert_eq!((items.len(), &items[0]["text"]), (1, &json!("by hand")));
        let (asked, forbidden) = asked_of(&tab).await;
        assert!(asked.len() > 4, "{asked:?}");
        for url in asked {
            let is_ours = origins.iter().any(|origin| url.starts_with(origin));
            assert!(is_ours || url.starts_with("data:"), "{url}");
        }
        assert_eq!(forbidden, json!([]), "the page wanted what it may not");
    }
}

#[tokio::test]
async fn a_link_leads_to_one_operation() {
    let browser = Browser::open().await;
    let world = shared().await;
    let tab = browser.tab(&world.list("/docs#/inbox/take_inbox"), WIDE).await;
    tab.until("document.querySelector('#operations-inbox-take_inbox.is-open')").await;
    tab.shows("#operations-inbox-take_inbox", "goes to exactly one caller").await;
}
