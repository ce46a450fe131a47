//! The panels of play counts and of system health.

use mayfly_stack::Service;
use mayfly_tests::{Browser, Setup, Tab, World};
use redis::AsyncCommands;
use serde_json::{Value, json};

use super::{NARROW, WIDE, page_url};

/// The paths that the scripts of the page have requested, without the page's own visits.
const REQUESTS: &str = "performance.getEntriesByType('resource')
    .filter((element) => ['fetch', 'xmlhttprequest', 'beacon'].includes(element.initiatorType))
    .map((element) => new URL(element.name).pathname)
    .filter((path) => path !== '/v1/visits')";

/// Starts a stack in which the test publishes counts and pulses.
async fn start() -> World {
    Setup::new().scale(Service::WsFanout, 1).scale(Service::PersistWorker, 0).start().await
}

async fn open(browser: &Browser, world: &World, width: u32) -> Tab {
    let tab = browser.open_tab(&page_url(world), width).await;
    tab.wait_for_text("#status-text", "Live").await;
    tab
}

/// Publishes counts in one frame.
async fn publish_counts(world: &World, counts: &[(&str, u64)]) {
    let counts: Vec<_> =
        counts.iter().map(|(id, count)| json!({"video_id": id, "count": count})).collect();
    let mut redis = world.redis().await;
    let mut add = redis::cmd("XADD");
    add.arg(world.key("plays:frames")).arg("*").arg("counts").arg(Value::from(counts).to_string());
    add.exec_async(&mut redis).await.expect("Redis is available");
}

async fn publish_pulse(world: &World, pulse: &Value) {
    let mut redis = world.redis().await;
    let (key, channel) = (world.key("pulse"), world.key("feed:pulse"));
    redis.set::<_, _, ()>(key, pulse.to_string()).await.expect("Redis is available");
    redis.publish::<_, _, ()>(channel, pulse.to_string()).await.expect("Redis is available");
}

fn make_pulse(second: u32, consumption: &Value) -> Value {
    json!({
        "generated_at": format!("2026-11-27T20:00:{second:02}.000Z"),
        "queue": {"depth": 1_234, "oldest_age_ms": 125_000, "dead_letters": 2},
        "rates": {"accepted": 1_234.5, "stored": 3.25, "delivered": 50_000.0},
        "consumption_ms": consumption,
        "connections": 3,
    })
}

async fn wait_for_figures(tab: &Tab, figures: &[(&str, &str)]) {
    for (id, figure) in figures {
        let (id, figure) = (json!(id), json!(figure));
        tab.wait_until(&format!("document.getElementById({id}).textContent === {figure}")).await;
    }
}

/// Waits until the table has exactly these rows.
async fn wait_for_rows(tab: &Tab, rows: &[(&str, &str)]) {
    let rows = json!(json!(rows).to_string());
    tab.wait_until(&format!(
        "JSON.stringify([...document.querySelectorAll('#plays-body tr')].map((row) =>
            [row.querySelector('.video').textContent, row.children[1].textContent])) === {rows}"
    ))
    .await;
}

async fn wait_for_points(tab: &Tab, line: &str, points: u32) {
    tab.wait_until(&format!(
        "document.querySelector('#pulse-chart path.{line}').getAttribute('d').split(/[ML]/).length - 1 === {points}"
    ))
    .await;
}

async fn sort(tab: &Tab, column: &str) {
    tab.click(&format!("#plays-table [data-column={column}] button")).await;
}

/// Returns `aria-sort` of the columns video, count and last change.
async fn read_sort_order(tab: &Tab) -> Value {
    let script = "return [...document.querySelectorAll('#plays-table [data-column]')]
        .map((head) => head.getAttribute('aria-sort'))";
    tab.run(script).await
}

#[tokio::test]
async fn counts_appear_and_update_live() {
    let browser = Browser::open().await;
    let world = start().await;
    let tab = open(&browser, &world, WIDE).await;
    tab.wait_for_text("#plays-empty", "mayfly simulate plays --live").await;
    tab.wait_until("document.querySelector('#plays-content').hidden").await;

    publish_counts(&world, &[("first", 1_000), ("second", 400)]).await;
    wait_for_rows(&tab, &[("first", "1,000"), ("second", "400")]).await;
    tab.wait_until("document.querySelector('#plays-empty').hidden").await;
    wait_for_figures(&tab, &[("plays-videos", "2"), ("plays-total", "1,400")]).await;
    let bars = "return [...document.querySelectorAll('#plays-body th')]
        .map((element) => element.style.getPropertyValue('--share'))";
    assert_eq!(tab.run(bars).await, json!(["100%", "40%"]));
    tab.wait_until("!document.querySelector('#plays-body .highlighted')").await;
    tab.run("document.querySelectorAll('#plays-body tr').forEach((row) => (row.isSame = true))")
        .await;

    // A row that overtakes another one is moved, not recreated, and highlighted briefly.
    tab.run(
        "window.highlighted = new Set();
         const look = (changes) => changes.forEach(({ target }) =>
             target.className === 'highlighted' && highlighted.add(target.querySelector('.video').textContent));
         new MutationObserver(look).observe(document.querySelector('#plays-body'),
             { subtree: true, attributeFilter: ['class'] })",
    )
    .await;
    publish_counts(&world, &[("second", 2_000)]).await;
    wait_for_rows(&tab, &[("second", "2,000"), ("first", "1,000")]).await;
    wait_for_figures(&tab, &[("plays-videos", "2"), ("plays-total", "3,000")]).await;
    assert_eq!(tab.run(bars).await, json!(["100%", "50%"]));
    tab.wait_until("highlighted.size > 0 && !document.querySelector('#plays-body .highlighted')")
        .await;
    assert_eq!(tab.run("return [...highlighted]").await, json!(["second"]));
    let reused =
        "return [...document.querySelectorAll('#plays-body tr')].every((row) => row.isSame)";
    assert_eq!(tab.run(reused).await, true);
}

#[tokio::test]
async fn counts_are_read_at_the_start_and_after_an_interruption() {
    let browser = Browser::open().await;
    // No stats-publisher sends frames: the page shows the counts that it reads.
    let world = Setup::new().scale(Service::WsFanout, 1).start().await;
    let count = async |video: &str, count: u64| world.wait_for_count(video, count).await;
    world.play(&["first", "first", "first", "second"]).await;
    count("first", 3).await;
    count("second", 1).await;
    let tab = open(&browser, &world, WIDE).await;
    wait_for_rows(&tab, &[("first", "3"), ("second", "1")]).await;
    wait_for_figures(&tab, &[("plays-total", "4"), ("plays-notice", "")]).await;
    // Counts only grow, so the higher of two counts is the newer one, regardless of its source.
    publish_counts(&world, &[("first", 2), ("second", 2)]).await;
    wait_for_rows(&tab, &[("first", "3"), ("second", "2")]).await;

    tab.click("#toggle").await;
    tab.wait_for_text("#plays-notice", "Disconnected since").await;
    world.play(&["first", "third"]).await;
    count("first", 4).await;
    count("third", 1).await;
    tab.click("#toggle").await;
    wait_for_rows(&tab, &[("first", "4"), ("second", "2"), ("third", "1")]).await;
    wait_for_figures(&tab, &[("plays-notice", "")]).await;

    // A read that fails is retried.
    world.stack.stop(Service::ListApi).await.expect("the service stops");
    world.play(&["third", "third"]).await;
    tab.click("#toggle").await;
    tab.wait_for_text("#status-text", "Offline").await;
    tab.click("#toggle").await;
    tab.wait_for_text("#plays-notice", "The counts cannot be read").await;
    world.stack.start(Service::ListApi).await.expect("the service starts");
    wait_for_rows(&tab, &[("first", "4"), ("third", "3"), ("second", "2")]).await;
    wait_for_figures(&tab, &[("plays-notice", "")]).await;
}

#[tokio::test]
async fn column_headers_sort_the_table() {
    let browser = Browser::open().await;
    let world = start().await;
    let tab = open(&browser, &world, NARROW).await;
    publish_counts(&world, &[("a-2", 20), ("b", 10), ("a-10", 30), ("c", 10)]).await;
    let (a2, a10, b, c) = (("a-2", "20"), ("a-10", "30"), ("b", "10"), ("c", "10"));
    wait_for_rows(&tab, &[a10, a2, b, c]).await;
    assert_eq!(read_sort_order(&tab).await, json!([null, "descending", null]));

    sort(&tab, "count").await;
    wait_for_rows(&tab, &[b, c, a2, a10]).await;
    assert_eq!(read_sort_order(&tab).await, json!([null, "ascending", null]));
    sort(&tab, "video").await;
    wait_for_rows(&tab, &[a2, a10, b, c]).await;
    assert_eq!(read_sort_order(&tab).await, json!(["ascending", null, null]));
    sort(&tab, "video").await;
    wait_for_rows(&tab, &[c, b, a10, a2]).await;
    assert_eq!(read_sort_order(&tab).await, json!(["descending", null, null]));

    // Counts of the same frame are ordered by count, until a later frame changes one.
    sort(&tab, "changed").await;
    wait_for_rows(&tab, &[a10, a2, b, c]).await;
    assert_eq!(read_sort_order(&tab).await, json!([null, null, "descending"]));
    publish_counts(&world, &[("c", 11)]).await;
    wait_for_rows(&tab, &[("c", "11"), a10, a2, b]).await;
    publish_counts(&world, &[("a-2", 21), ("a-10", 30)]).await;
    wait_for_rows(&tab, &[("a-2", "21"), ("c", "11"), a10, b]).await;
    sort(&tab, "count").await;
    wait_for_rows(&tab, &[a10, ("a-2", "21"), ("c", "11"), b]).await;
}

#[tokio::test]
async fn video_names_are_text_and_do_not_break_the_layout() {
    let browser = Browser::open().await;
    let world = start().await;
    let hostile = [
        "<script>document.title = 'broken'</script>",
        "<img src=x onerror=\"document.title = 'broken'\">",
        &"🦋".repeat(128),
        &"W".repeat(128),
        "\u{202e}right to left, never closed",
        "\u{2067}\u{202e}x",
        "القاهرة",
        &format!("Z{}", "\u{301}\u{316}".repeat(60)),
        "line\nline\tline",
        "\"'&amp;",
        "--share: 1000%",
        "__proto__",
    ];
    let max = 9_007_199_254_740_991;
    for width in [NARROW, 800, WIDE] {
        let tab = open(&browser, &world, width).await;
        // The counts differ for each width.
        let counts: Vec<_> =
            (0..).zip(hostile).map(|(n, id)| (id, max - u64::from(width) - n)).collect();
        publish_counts(&world, &counts).await;
        publish_pulse(&world, &make_pulse(width % 60, &json!({"latest": 9e9, "average": 0.04})))
            .await;
        tab.wait_until("document.querySelectorAll('#plays-body tr').length === 12").await;
        tab.wait_until("!document.querySelector('#pulse-content').hidden").await;
        let names = "return [...document.querySelectorAll('#plays-body .video bdi')]
            .map((element) => element.textContent)";
        assert_eq!(tab.run(names).await, json!(hostile));
        tab.wait_until("document.scrollingElement.scrollWidth <= innerWidth").await;
        let fits = "['.plays', '.pulse'].every((name) => {
            const panel = document.querySelector(name).getBoundingClientRect();
            return [...document.querySelectorAll(`${name} *`)].every((element) => {
                const { left, right } = element.getBoundingClientRect();
                return element.closest('.video, .visually-hidden') || left === right ||
                    (left >= panel.left - 1 && right <= panel.right + 1);
            });
        })";
        tab.wait_until(fits).await;
        let is_low = "[...document.querySelectorAll('#plays-body tr')].every((element) => element.offsetHeight < 90)";
        tab.wait_until(is_low).await;
        // The sticky feed does not cover other panels while the page is scrolled.
        tab.run("document.querySelector('#pulse').scrollIntoView()").await;
        let is_separate = "document.querySelector('.feed').getBoundingClientRect().bottom <=
            document.querySelector('#plays').getBoundingClientRect().top";
        tab.wait_until(is_separate).await;
        let injected = "return document.querySelectorAll('#plays-body :is(script, img)').length";
        assert_eq!(tab.run(injected).await, 0);
        assert_eq!(tab.run("return document.title").await, "Mayfly");
    }
}

#[tokio::test]
async fn table_size_is_bounded() {
    let browser = Browser::open().await;
    let world = start().await;
    let tab = open(&browser, &world, WIDE).await;
    tab.run(
        "window.mostRows = 0;
         const look = () => (mostRows = Math.max(mostRows, document.querySelectorAll('#plays-body tr').length));
         new MutationObserver(look).observe(document.querySelector('#plays-body'), { childList: true })",
    )
    .await;
    let videos: Vec<_> = (1..=1_200).map(|n| (format!("video-{n}"), n)).collect();
    for frame in videos.chunks(20) {
        let frame: Vec<_> = frame.iter().map(|(id, count)| (id.as_str(), *count)).collect();
        publish_counts(&world, &frame).await;
    }
    tab.wait_until("document.querySelector('#plays-body .video')?.textContent === 'video-1200'")
        .await;
    // The sum of the plays of the videos 201 to 1200.
    wait_for_figures(&tab, &[("plays-videos", "1,000"), ("plays-total", "700,500")]).await;
    tab.wait_until("document.querySelectorAll('#plays-body tr').length === 100").await;
    tab.wait_for_text("#plays-more", "first 100 of 1,000 videos").await;
    tab.wait_for_text("#plays-more", "the 1,000 with the most plays").await;
    assert_eq!(tab.run("return mostRows").await, 100);

    // A hidden video moves to the top.
    publish_counts(&world, &[("video-300", 5_000), ("video-1", 2)]).await;
    tab.wait_until("document.querySelector('#plays-body .video').textContent === 'video-300'")
        .await;
    wait_for_figures(&tab, &[("plays-videos", "1,000"), ("plays-total", "705,200")]).await;
    assert_eq!(tab.run("return mostRows").await, 100);
}

#[tokio::test]
async fn pulse_is_shown_as_figures_and_as_a_chart() {
    let browser = Browser::open().await;
    let world = start().await;
    let tab = open(&browser, &world, WIDE).await;
    tab.wait_for_text("#pulse-empty", "No pulse yet").await;
    tab.wait_until("document.querySelector('#pulse-content').hidden").await;

    let consumption = json!({"latest": 12.0, "average": 1_250.0, "p50": 0.44, "p99": 80.1});
    publish_pulse(&world, &make_pulse(1, &consumption)).await;
    let figures = [
        ("pulse-accepted", "1,235"),
        ("pulse-stored", "3.3"),
        ("pulse-delivered", "50,000"),
        ("pulse-depth", "1,234"),
        ("pulse-oldest", "2.1 min"),
        ("pulse-dead-letters", "2"),
        ("pulse-connections", "3"),
        ("pulse-latest", "12 ms"),
        ("pulse-average", "1.3 s"),
        ("pulse-p50", "0.4 ms"),
        ("pulse-p99", "80 ms"),
    ];
    wait_for_figures(&tab, &figures).await;
    tab.wait_until("document.querySelector('#pulse-empty').hidden").await;
    let time = "return document.querySelector('#pulse-time time').dateTime";
    assert_eq!(tab.run(time).await, "2026-11-27T20:00:01.000Z");
    wait_for_points(&tab, "latest", 1).await;
    for second in 2..=4 {
        publish_pulse(&world, &make_pulse(second, &consumption)).await;
        wait_for_points(&tab, "latest", second).await;
        wait_for_points(&tab, "average", second).await;
    }
    let label = "document.querySelector('#pulse-chart').getAttribute('aria-label')";
    tab.wait_until(&format!("{label}.includes('latest 12 ms, average 1.3 s')")).await;
    let labels =
        "[...document.querySelectorAll('#pulse-chart text')].map((element) => element.textContent)";
    tab.wait_until(&format!("{labels}.includes('1.5 s') && {labels}.includes('now')")).await;

    tab.wait_until("document.querySelector('#pulse-idle').hidden").await;
    // Missing consumption times are not drawn.
    let nothing = json!({"latest": null, "average": null, "p50": null, "p99": null});
    let mut idle = make_pulse(5, &nothing);
    idle["queue"] = json!({"depth": 0, "oldest_age_ms": 0, "dead_letters": 0});
    publish_pulse(&world, &idle).await;
    let none = ["oldest", "latest", "average", "p50", "p99"].map(|name| format!("pulse-{name}"));
    let none: Vec<_> = none.iter().map(|id| (id.as_str(), "–")).collect();
    wait_for_figures(&tab, &none).await;
    wait_for_figures(&tab, &[("pulse-depth", "0"), ("pulse-dead-letters", "0")]).await;
    wait_for_points(&tab, "latest", 4).await;
    tab.wait_until(&format!("{label}.includes('latest unknown, average unknown')")).await;

    // A new client receives the last pulse immediately. Both pages show a notice when no more
    // pulses arrive.
    let other = open(&browser, &world, NARROW).await;
    wait_for_figures(&other, &[("pulse-delivered", "50,000")]).await;
    other.wait_until("!document.querySelector('#pulse-idle').hidden").await;
    for tab in [&tab, &other] {
        tab.wait_for_text("#pulse-stale", "Stale").await;
    }
    publish_pulse(&world, &make_pulse(6, &consumption)).await;
    for tab in [&tab, &other] {
        tab.wait_until("document.querySelector('#pulse-stale').textContent === ''").await;
        wait_for_figures(tab, &figures).await;
    }
    wait_for_points(&tab, "latest", 5).await;
}

#[tokio::test]
async fn page_does_not_poll() {
    let browser = Browser::open().await;
    let world = start().await;
    let tab = open(&browser, &world, WIDE).await;
    // The page requests the stored messages twice at the start.
    tab.run("await new Promise((done) => setTimeout(done, 4000))").await;
    let before = tab.run(&format!("return {REQUESTS}")).await;
    let configs = format!("return {REQUESTS}.filter((path) => path === '/config.json').length");
    assert_eq!(tab.run(&configs).await, 1);

    for second in 1..=4 {
        let consumption = json!({"latest": 12.0, "average": 15.0, "p50": 11.0, "p99": 80.0});
        publish_pulse(&world, &make_pulse(second, &consumption)).await;
        publish_counts(&world, &[("watched", u64::from(second))]).await;
        wait_for_points(&tab, "latest", second).await;
        let count = second.to_string();
        wait_for_rows(&tab, &[("watched", count.as_str())]).await;
        tab.run("await new Promise((done) => setTimeout(done, 1000))").await;
    }
    assert_eq!(tab.run(&format!("return {REQUESTS}")).await, before);
}
