//! The page of the API documentation in a browser, which requests only the two APIs.

use mayfly_stack::Service;
use mayfly_tests::{Browser, Setup, Tab, World};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

const WIDE: u32 = 1280;

async fn shared() -> World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    Setup::new().share(&WORLD).await
}

/// Posts a message with the form of `POST /v1/messages`.
async fn post_from(tab: &Tab, ingest_url: &str, username: &str) {
    tab.click("#operations-messages-post_message .opblock-summary-control").await;
    tab.wait_until("document.querySelector('#operations-messages-post_message .try-out__btn')")
        .await;
    tab.click("#operations-messages-post_message .try-out__btn").await;
    let body = json!({"username": username, "text": "from the page"}).to_string();
    tab.wait_until("document.querySelector('textarea.body-param__text')").await;
    tab.wait_for_text("#operations-messages-post_message .operation-servers", ingest_url).await;
    tab.fill("textarea.body-param__text", &body).await;
    tab.click("#operations-messages-post_message .btn.execute").await;
    tab.wait_for_text("#operations-messages-post_message .live-responses-table", "202").await;
}

/// Returns the URLs that the page requested, and those that its policy blocked.
async fn read_requests(tab: &Tab) -> (Vec<String>, Value) {
    let requested =
        tab.run("return performance.getEntriesByType('resource').map((entry) => entry.name)").await;
    let requested = requested.as_array().cloned().unwrap_or_default();
    let blocked = tab
        .run(
            "return await new Promise((done) => {
                 const seen = (reports) => done(reports.map((report) => report.body.blockedURL));
                 new ReportingObserver(seen, {types: ['csp-violation'], buffered: true}).observe();
                 setTimeout(() => done([]), 300);
             })",
        )
        .await;
    (requested.iter().filter_map(|url| url.as_str().map(str::to_owned)).collect(), blocked)
}

#[tokio::test]
async fn page_of_either_api_posts_a_message_and_requests_only_the_apis() {
    let browser = Browser::open().await;
    let world = shared().await;
    let apis = [Service::ListApi, Service::IngestApi];
    let origins = apis.map(|service| world.url(service, "/"));
    for service in apis {
        let username = format!("page-of-{}", service.name());
        let tab = browser.open_tab(&world.url(service, "/docs"), WIDE).await;
        tab.wait_for_text("h1, h2", "Mayfly API").await;
        assert_eq!(tab.run("return document.title").await, "Mayfly API");
        post_from(&tab, &world.ingest_url(""), &username).await;
        let items = world.take(&username).await;
        assert_eq!((items.len(), &items[0]["text"]), (1, &json!("from the page")));
        let (requested, blocked) = read_requests(&tab).await;
        assert!(requested.len() > 4, "{requested:?}");
        for url in requested {
            let is_own = origins.iter().any(|origin| url.starts_with(origin));
            assert!(is_own || url.starts_with("data:"), "{url}");
        }
        assert_eq!(blocked, json!([]), "the policy blocked requests");
    }
}

#[tokio::test]
async fn link_opens_one_operation() {
    let browser = Browser::open().await;
    let world = shared().await;
    let tab = browser.open_tab(&world.list_url("/docs#/inbox/take_inbox"), WIDE).await;
    tab.wait_until("document.querySelector('#operations-inbox-take_inbox.is-open')").await;
    tab.wait_for_text(
        "#operations-inbox-take_inbox",
        "each message is returned to exactly one caller",
    )
    .await;
}
