//! The panel of trending pages.

use mayfly_stack::Service;
use mayfly_tests::{Browser, Setup, Tab, World, live::trend_snapshot};
use serde_json::{Value, json};

use super::{NARROW, WIDE, page_url};

/// Starts a stack in which the test publishes the samples.
async fn start() -> World {
    Setup::new().scale(Service::WsFanout, 1).scale(Service::PersistWorker, 0).start().await
}

/// Returns the host of the page, as in its own visits.
fn page_host(world: &World) -> String {
    world.url(Service::WsFanout, "").replace("http://", "")
}

async fn open(browser: &Browser, world: &World, query: &str, width: u32) -> Tab {
    let tab = browser.open_tab(&format!("{}{query}", page_url(world)), width).await;
    tab.wait_for_text("#status-text", "Live").await;
    tab
}

/// Waits until the table has exactly these rows: title, visitors, change and score.
async fn wait_for_rows(tab: &Tab, rows: &[[&str; 4]]) {
    let rows = json!(json!(rows).to_string());
    tab.wait_until(&format!(
        "JSON.stringify([...document.querySelectorAll('#rising-body tr')].map((row) =>
            [row.querySelector('.title').textContent, ...[2, 3, 4].map((cell) => row.children[cell].textContent)]))
            === {rows}"
    ))
    .await;
}

/// An expression for the number of points of each sparkline.
const POINTS: &str = "[...document.querySelectorAll('#rising-body .line')]
    .map((line) => line.getAttribute('d').split(/[ML]/).length - 1)";

#[tokio::test]
async fn trending_pages_update_live() {
    let browser = Browser::open().await;
    let world = start().await;
    let host = page_host(&world);
    let tab = open(&browser, &world, "", WIDE).await;
    tab.wait_for_text("#rising-empty", "POST /v1/visits").await;
    tab.wait_for_text("#rising-empty-host", &host).await;
    tab.wait_until("document.querySelector('#rising-content').hidden").await;
    assert_eq!(tab.run("return document.querySelector('#rising-host').value").await, json!(host));

    let mut first = trend_snapshot(&host, 1, &[("/", 1_000, None), ("/news", 5, None)]);
    first["pages"][1]["title"] = "News".into();
    world.publish_trend(&first).await;
    wait_for_rows(&tab, &[["/", "1,000", "–", "–"], ["News", "5", "–", "–"]]).await;
    tab.wait_until("document.querySelector('#rising-empty').hidden").await;
    tab.wait_for_text("#rising-visitors", "1,005").await;
    tab.wait_for_text("#rising-summary", &format!("visitors on {host} now")).await;
    tab.wait_for_text("#rising-body .path", "/news").await;
    let time = "return document.querySelector('#rising-time time').dateTime";
    assert_eq!(tab.run(time).await, "2026-11-20T19:00:01.000Z");
    tab.run("document.querySelectorAll('#rising-body tr').forEach((row) => (row.isSame = true))")
        .await;

    let pages = [("/", 990, Some(1_000)), ("/news", 25, Some(5)), ("/new", 3, None)];
    let mut second = trend_snapshot(&host, 6, &pages);
    second["pages"][1]["title"] = "News".into();
    second["exact"] = false.into();
    world.publish_trend(&second).await;
    let rows = [
        ["News", "≈ 25", "▲+20", "6.4"],
        ["/", "≈ 990", "▼−10", "−0.3"],
        ["/new", "≈ 3", "new", "–"],
    ];
    wait_for_rows(&tab, &rows).await;
    tab.wait_until("document.querySelector('#rising-visitors').textContent === 'about 1,018'")
        .await;
    tab.wait_until(&format!("JSON.stringify({POINTS}) === '[2,2,1]'")).await;
    let reused = "return [...document.querySelectorAll('#rising-body tr')].map((row) => Boolean(row.isSame))";
    assert_eq!(tab.run(reused).await, json!([true, true, false]), "rows are moved, not recreated");
    let label =
        "return document.querySelector('#rising-body .sparkline').getAttribute('aria-label')";
    assert_eq!(tab.run(label).await, "2 samples: between 5 and 25, now 25");

    // Missing pages are dropped with their samples. At most five minutes are remembered.
    world.publish_trend(&trend_snapshot(&host, 11, &[("/", 980, Some(990))])).await;
    wait_for_rows(&tab, &[["/", "980", "▼−10", "−0.3"]]).await;
    for number in 3..70 {
        world
            .publish_trend(&trend_snapshot(
                &host,
                5 * number,
                &[("/", 980, Some(980)), ("/news", number, None)],
            ))
            .await;
    }
    tab.wait_until(
        "document.querySelector('#rising-time time').dateTime === '2026-11-20T19:05:45.000Z'",
    )
    .await;
    tab.wait_until(&format!("JSON.stringify({POINTS}) === '[60,60]'")).await;

    // All visitors have left.
    world.publish_trend(&trend_snapshot(&host, 600, &[])).await;
    tab.wait_until("!document.querySelector('#rising-none').hidden").await;
    tab.wait_until("document.querySelector('#rising-visitors').textContent === '0'").await;
    tab.wait_for_text("#rising-stale", "No sample for more than 15 seconds").await;
    world.publish_trend(&trend_snapshot(&host, 605, &[("/", 1, None)])).await;
    tab.wait_until("document.querySelector('#rising-stale').textContent === ''").await;
    tab.wait_for_text("#rising-summary", &format!("visitor on {host} now")).await;
}

#[tokio::test]
async fn host_is_switched_on_the_same_connection_and_stored_in_the_url() {
    let browser = Browser::open().await;
    let world = start().await;
    for (host, visitors) in [("one.example", 11), ("two.example", 22)] {
        world.publish_trend(&trend_snapshot(host, 1, &[("/", visitors, None)])).await;
    }
    let tab = open(&browser, &world, "?host=One.Example", WIDE).await;
    wait_for_rows(&tab, &[["/", "11", "–", "–"]]).await;
    let id = tab.run("return document.querySelector('#connection-id').textContent").await;

    tab.fill("#rising-host", "no host/").await;
    tab.click("#rising-form button").await;
    tab.wait_for_text("#rising-host-error", "1 to 253").await;
    wait_for_rows(&tab, &[["/", "11", "–", "–"]]).await;
    tab.fill("#rising-host", " Two.example ").await;
    tab.click("#rising-form button").await;
    tab.wait_until("document.querySelector('#rising-host-error').hidden").await;
    wait_for_rows(&tab, &[["/", "22", "–", "–"]]).await;
    // Frames of the previous host are ignored.
    world.publish_trend(&trend_snapshot("one.example", 6, &[("/", 12, Some(11))])).await;
    world.publish_trend(&trend_snapshot("two.example", 6, &[("/", 24, Some(22))])).await;
    wait_for_rows(&tab, &[["/", "24", "▲+2", "0.4"]]).await;
    assert_eq!(tab.run("return document.querySelector('#connection-id').textContent").await, id);
    tab.reload().await;
    wait_for_rows(&tab, &[["/", "24", "▲+2", "0.4"]]).await;
    assert_eq!(tab.run("return location.search").await, "?host=two.example");
    tab.click("#toggle").await;
    tab.wait_for_text("#status-text", "Offline").await;
    tab.click("#toggle").await;
    tab.wait_for_text("#status-text", "Live").await;
    world.publish_trend(&trend_snapshot("two.example", 11, &[("/", 24, Some(24))])).await;
    wait_for_rows(&tab, &[["/", "24", "±0", "0.0"]]).await;

    tab.fill("#rising-host", "empty.example").await;
    tab.click("#rising-form button").await;
    tab.wait_for_text("#rising-empty", "No visitors on empty.example yet").await;
    tab.wait_until("document.querySelector('#rising-content').hidden").await;
}

#[tokio::test]
async fn visible_page_sends_heartbeats() {
    let browser = Browser::open().await;
    let world = start().await;
    let tab = browser.open_tab("about:blank#visits", WIDE).await;
    tab.navigate(&page_url(&world)).await;
    tab.wait_for_text("#status-text", "Live").await;
    let visits = "performance.getEntriesByType('resource')
        .filter((element) => new URL(element.name).pathname === '/v1/visits').length";
    tab.wait_until(&format!("{visits} === 1")).await;
    let visitor = "return sessionStorage.getItem('mayfly.visitor')";
    let before = tab.run(visitor).await;
    assert_eq!(before.as_str().map(str::len), Some(32), "{before}");
    tab.wait_until(&format!("{visits} === 2")).await;
    tab.reload().await;
    assert_eq!(tab.run(visitor).await, before, "the same visitor");
}

#[tokio::test]
async fn page_counts_itself_and_other_visitors() {
    let browser = Browser::open().await;
    let setup = Setup::new().scale(Service::WsFanout, 1).scale(Service::StatsPublisher, 1);
    let world = setup.with_s3().start().await;
    let tab = open(&browser, &world, "", WIDE).await;
    tab.wait_until("document.querySelector('#rising-visitors').textContent === '1'").await;
    tab.wait_for_text("#rising-body .title", "Mayfly").await;
    tab.wait_for_text("#rising-body .path", "/").await;
    let _other = open(&browser, &world, "", NARROW).await;
    tab.wait_until("document.querySelector('#rising-visitors').textContent === '2'").await;
}

#[tokio::test]
async fn page_names_are_text_and_do_not_break_the_layout() {
    let browser = Browser::open().await;
    let world = start().await;
    let host = page_host(&world);
    let hostile = [
        "<script>document.title = 'broken'</script>",
        "<img src=x onerror=\"document.title = 'broken'\">",
        &"🦋".repeat(1_024),
        &"/W".repeat(512),
        "\u{202e}right to left, never closed",
        "/القاهرة",
        &format!("/Z{}", "\u{301}\u{316}".repeat(100)),
        "\"'&amp;",
        "__proto__",
    ];
    let max = 9_007_199_254_740_991;
    let pages: Vec<_> = hostile.iter().map(|path| (*path, max, Some(3))).collect();
    let mut seen = trend_snapshot(&host, 1, &pages);
    seen["visitors"] = max.into();
    seen["exact"] = false.into();
    for (index, path) in hostile.iter().enumerate() {
        let title: String = path.chars().take(256).collect();
        seen["pages"][index]["title"] = if index % 2 == 0 { json!(title) } else { Value::Null };
    }
    world.publish_trend(&seen).await;
    for width in [NARROW, 800, WIDE] {
        let tab = open(&browser, &world, "", width).await;
        tab.wait_until("document.querySelectorAll('#rising-body tr').length === 9").await;
        let mut names = hostile;
        names.sort_unstable();
        let shown = "return [...document.querySelectorAll('#rising-body .page')]
            .map((element) => element.title).sort()";
        let shown = tab.run(shown).await;
        for name in names {
            assert!(
                shown.as_array().is_some_and(|all| all.contains(&json!(name))),
                "{name}: {shown}"
            );
        }
        tab.wait_until("document.scrollingElement.scrollWidth <= innerWidth").await;
        let fits = "(() => {
            const panel = document.querySelector('.rising').getBoundingClientRect();
            return [...document.querySelectorAll('.rising *')].every((element) => {
                const { left, right } = element.getBoundingClientRect();
                return element.closest('.page, .visually-hidden, thead') || left === right ||
                    (left >= panel.left - 1 && right <= panel.right + 1);
            });
        })()";
        tab.wait_until(fits).await;
        let is_low = "[...document.querySelectorAll('#rising-body tr')].every((element) => element.offsetHeight < 180)";
        tab.wait_until(is_low).await;
        let injected = "return document.querySelectorAll('#rising-body :is(script, img)').length";
        assert_eq!(tab.run(injected).await, 0);
        assert_eq!(tab.run("return document.title").await, "Mayfly");
    }
}
