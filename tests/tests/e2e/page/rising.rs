//! The panel of what rises.

use mayfly_stack::Service;
use mayfly_tests::{Browser, Setup, Tab, World, live::sighting};
use serde_json::{Value, json};

use super::{NARROW, WIDE, page};

/// A Mayfly whose hosts are sampled by the test.
async fn start() -> World {
    Setup::new().with(Service::WsFanout, 1).with(Service::PersistWorker, 0).start().await
}

/// The host of the page, as it is known to its visits.
fn here(world: &World) -> String {
    world.url(Service::WsFanout, "").replace("http://", "")
}

async fn open(browser: &Browser, world: &World, query: &str, width: u32) -> Tab {
    let tab = browser.tab(&format!("{}{query}", page(world)), width).await;
    tab.shows("#pill-text", "Live").await;
    tab
}

/// Waits until the table has exactly these rows: what a page is called, its visitors, how they changed,
/// and its score.
async fn shows_rows(tab: &Tab, rows: &[[&str; 4]]) {
    let rows = json!(json!(rows).to_string());
    tab.until(&format!(
        "JSON.stringify([...document.querySelectorAll('#rising-body tr')].map((row) =>
            [row.querySelector('.title').textContent, ...[2, 3, 4].map((cell) => row.children[cell].textContent)]))
            === {rows}"
    ))
    .await;
}

/// How many points the lines have, row by row.
const POINTS: &str = "[...document.querySelectorAll('#rising-body .line')]
    .map((line) => line.getAttribute('d').split(/[ML]/).length - 1)";

#[tokio::test]
async fn pages_rise_and_fall_while_one_watches() {
    let browser = Browser::open().await;
    let world = start().await;
    let host = here(&world);
    let tab = open(&browser, &world, "", WIDE).await;
    tab.shows("#rising-empty", "POST /v1/visits").await;
    tab.shows("#rising-empty-host", &host).await;
    tab.until("document.querySelector('#rising-filled').hidden").await;
    assert_eq!(tab.run("return document.querySelector('#rising-host').value").await, json!(host));

    let mut first = sighting(&host, 1, &[("/", 1_000, None), ("/news", 5, None)]);
    first["pages"][1]["title"] = "News".into();
    world.publish_sighting(&first).await;
    shows_rows(&tab, &[["/", "1,000", "–", "–"], ["News", "5", "–", "–"]]).await;
    tab.until("document.querySelector('#rising-empty').hidden").await;
    tab.shows("#rising-visitors", "1,005").await;
    tab.shows("#rising-on", &format!("visitors on {host} now")).await;
    tab.shows("#rising-body .path", "/news").await;
    let made = "return document.querySelector('#rising-made time').dateTime";
    assert_eq!(tab.run(made).await, "2026-11-20T19:00:01.000Z");
    tab.run("document.querySelectorAll('#rising-body tr').forEach((row) => (row.isSame = true))")
        .await;

    let pages = [("/", 990, Some(1_000)), ("/news", 25, Some(5)), ("/new", 3, None)];
    let mut second = sighting(&host, 6, &pages);
    second["pages"][1]["title"] = "News".into();
    second["exact"] = false.into();
    world.publish_sighting(&second).await;
    let rows = [
        ["News", "≈ 25", "▲+20", "6.4"],
        ["/", "≈ 990", "▼−10", "−0.3"],
        ["/new", "≈ 3", "new", "–"],
    ];
    shows_rows(&tab, &rows).await;
    tab.until("document.querySelector('#rising-visitors').textContent === 'about 1,018'").await;
    tab.until(&format!("JSON.stringify({POINTS}) === '[2,2,1]'")).await;
    let same = "return [...document.querySelectorAll('#rising-body tr')].map((row) => Boolean(row.isSame))";
    assert_eq!(tab.run(same).await, json!([true, true, false]), "rows are moved, not made again");
    let said = "return document.querySelector('#rising-body .trend').getAttribute('aria-label')";
    assert_eq!(tab.run(said).await, "2 samples: between 5 and 25, now 25");

    // A page that is gone is let go of, with its line. No more is remembered than five minutes.
    world.publish_sighting(&sighting(&host, 11, &[("/", 980, Some(990))])).await;
    shows_rows(&tab, &[["/", "980", "▼−10", "−0.3"]]).await;
    for number in 3..70 {
        world
            .publish_sighting(&sighting(
                &host,
                5 * number,
                &[("/", 980, Some(980)), ("/news", number, None)],
            ))
            .await;
    }
    tab.until(
        "document.querySelector('#rising-made time').dateTime === '2026-11-20T19:05:45.000Z'",
    )
    .await;
    tab.until(&format!("JSON.stringify({POINTS}) === '[60,60]'")).await;

    // Nobody is left.
    world.publish_sighting(&sighting(&host, 600, &[])).await;
    tab.until("!document.querySelector('#rising-none').hidden").await;
    tab.until("document.querySelector('#rising-visitors').textContent === '0'").await;
    tab.shows("#rising-stale", "No sample for more than 15 seconds").await;
    world.publish_sighting(&sighting(&host, 605, &[("/", 1, None)])).await;
    tab.until("document.querySelector('#rising-stale').textContent === ''").await;
    tab.shows("#rising-on", &format!("visitor on {host} now")).await;
}

#[tokio::test]
async fn another_host_is_watched_over_the_same_connection_and_kept_in_the_address() {
    let browser = Browser::open().await;
    let world = start().await;
    for (host, visitors) in [("one.example", 11), ("two.example", 22)] {
        world.publish_sighting(&sighting(host, 1, &[("/", visitors, None)])).await;
    }
    let tab = open(&browser, &world, "?host=One.Example", WIDE).await;
    shows_rows(&tab, &[["/", "11", "–", "–"]]).await;
    let id = tab.run("return document.querySelector('#link-id').textContent").await;

    tab.fill("#rising-host", "no host/").await;
    tab.click("#rising-form button").await;
    tab.shows("#rising-host-error", "1 to 253").await;
    shows_rows(&tab, &[["/", "11", "–", "–"]]).await;
    tab.fill("#rising-host", " Two.example ").await;
    tab.click("#rising-form button").await;
    tab.until("document.querySelector('#rising-host-error').hidden").await;
    shows_rows(&tab, &[["/", "22", "–", "–"]]).await;
    // What comes of the one before is not shown any more.
    world.publish_sighting(&sighting("one.example", 6, &[("/", 12, Some(11))])).await;
    world.publish_sighting(&sighting("two.example", 6, &[("/", 24, Some(22))])).await;
    shows_rows(&tab, &[["/", "24", "▲+2", "0.4"]]).await;
    assert_eq!(tab.run("return document.querySelector('#link-id').textContent").await, id);
    tab.reload().await;
    shows_rows(&tab, &[["/", "24", "▲+2", "0.4"]]).await;
    assert_eq!(tab.run("return location.search").await, "?host=two.example");
    tab.click("#toggle").await;
    tab.shows("#pill-text", "Off").await;
    tab.click("#toggle").await;
    tab.shows("#pill-text", "Live").await;
    world.publish_sighting(&sighting("two.example", 11, &[("/", 24, Some(24))])).await;
    shows_rows(&tab, &[["/", "24", "±0", "0.0"]]).await;

    tab.fill("#rising-host", "nobody.example").await;
    tab.click("#rising-form button").await;
    tab.shows("#rising-empty", "Nobody has been seen on nobody.example yet").await;
    tab.until("document.querySelector('#rising-filled').hidden").await;
}

#[tokio::test]
async fn the_page_visits_itself_while_it_is_looked_at() {
    let browser = Browser::open().await;
    let world = start().await;
    let tab = browser.tab("about:blank#visits", WIDE).await;
    tab.go(&page(&world)).await;
    tab.shows("#pill-text", "Live").await;
    let visits = "performance.getEntriesByType('resource')
        .filter((one) => new URL(one.name).pathname === '/v1/visits').length";
    tab.until(&format!("{visits} === 1")).await;
    let visitor = "return sessionStorage.getItem('mayfly.visitor')";
    let before = tab.run(visitor).await;
    assert_eq!(before.as_str().map(str::len), Some(32), "{before}");
    tab.until(&format!("{visits} === 2")).await;
    tab.reload().await;
    assert_eq!(tab.run(visitor).await, before, "the same visitor");
}

#[tokio::test]
async fn a_newcomer_sees_itself_and_whoever_comes_next() {
    let browser = Browser::open().await;
    let setup = Setup::new().with(Service::WsFanout, 1).with(Service::StatsPublisher, 1);
    let world = setup.with_s3().start().await;
    let tab = open(&browser, &world, "", WIDE).await;
    tab.until("document.querySelector('#rising-visitors').textContent === '1'").await;
    tab.shows("#rising-body .title", "Mayfly").await;
    tab.shows("#rising-body .path", "/").await;
    let _other = open(&browser, &world, "", NARROW).await;
    tab.until("document.querySelector('#rising-visitors').textContent === '2'").await;
}

#[tokio::test]
async fn names_of_pages_are_text_and_break_no_layout() {
    let browser = Browser::open().await;
    let world = start().await;
    let host = here(&world);
    let nasty = [
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
    let most = 9_007_199_254_740_991;
    let pages: Vec<_> = nasty.iter().map(|path| (*path, most, Some(3))).collect();
    let mut seen = sighting(&host, 1, &pages);
    seen["visitors"] = most.into();
    seen["exact"] = false.into();
    for (index, path) in nasty.iter().enumerate() {
        let title: String = path.chars().take(256).collect();
        seen["pages"][index]["title"] = if index % 2 == 0 { json!(title) } else { Value::Null };
    }
    world.publish_sighting(&seen).await;
    for width in [NARROW, 800, WIDE] {
        let tab = open(&browser, &world, "", width).await;
        tab.until("document.querySelectorAll('#rising-body tr').length === 9").await;
        let mut names = nasty;
        names.sort_unstable();
        let shown = "return [...document.querySelectorAll('#rising-body .page')]
            .map((one) => one.title).sort()";
        let shown = tab.run(shown).await;
        for name in names {
            assert!(
                shown.as_array().is_some_and(|all| all.contains(&json!(name))),
                "{name}: {shown}"
            );
        }
        tab.until("document.scrollingElement.scrollWidth <= innerWidth").await;
        let within = "(() => {
            const panel = document.querySelector('.rising').getBoundingClientRect();
            return [...document.querySelectorAll('.rising *')].every((one) => {
                const { left, right } = one.getBoundingClientRect();
                return one.closest('.page, .unseen, thead') || left === right ||
                    (left >= panel.left - 1 && right <= panel.right + 1);
            });
        })()";
        tab.until(within).await;
        let low = "[...document.querySelectorAll('#rising-body tr')].every((one) => one.offsetHeight < 180)";
        tab.until(low).await;
        let made = "return document.querySelectorAll('#rising-body :is(script, img)').length";
        assert_eq!(tab.run(made).await, 0);
        assert_eq!(tab.run("return document.title").await, "Mayfly");
    }
}
