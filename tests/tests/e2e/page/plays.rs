//! The panels of the plays and of the pulse.

use mayfly_stack::Service;
use mayfly_tests::{Browser, Setup, Tab, World};
use redis::AsyncCommands;
use serde_json::{Value, json};

use super::{NARROW, WIDE, page};

/// The paths that scripts of the page have asked for so far; its own visits ask for nothing.
const REQUESTS: &str = "performance.getEntriesByType('resource')
    .filter((one) => ['fetch', 'xmlhttprequest', 'beacon'].includes(one.initiatorType))
    .map((one) => new URL(one.name).pathname)
    .filter((path) => path !== '/v1/visits')";

/// A Mayfly whose counts and pulses are made by the test.
async fn start() -> World {
    Setup::new().with(Service::WsFanout, 1).with(Service::PersistWorker, 0).start().await
}

async fn open(browser: &Browser, world: &World, width: u32) -> Tab {
    let tab = browser.tab(&page(world), width).await;
    tab.shows("#pill-text", "Live").await;
    tab
}

/// Sends counts in one frame.
async fn play(world: &World, counts: &[(&str, u64)]) {
    let counts: Vec<_> =
        counts.iter().map(|(id, count)| json!({"video_id": id, "count": count})).collect();
    let mut redis = world.redis().await;
    let mut add = redis::cmd("XADD");
    add.arg(world.key("plays:frames")).arg("*").arg("counts").arg(Value::from(counts).to_string());
    add.exec_async(&mut redis).await.expect("Redis answers");
}

async fn publish(world: &World, pulse: &Value) {
    let mut redis = world.redis().await;
    let (key, channel) = (world.key("pulse"), world.key("feed:pulse"));
    redis.set::<_, _, ()>(key, pulse.to_string()).await.expect("Redis answers");
    redis.publish::<_, _, ()>(channel, pulse.to_string()).await.expect("Redis answers");
}

fn pulse(second: u32, consumption: &Value) -> Value {
    json!({
        "generated_at": format!("2026-11-27T20:00:{second:02}.000Z"),
        "queue": {"depth": 1_234, "oldest_age_ms": 125_000, "dead_letters": 2},
        "rates": {"accepted": 1_234.5, "stored": 3.25, "delivered": 50_000.0},
        "consumption_ms": consumption,
        "connections": 3,
    })
}

async fn shows_figures(tab: &Tab, figures: &[(&str, &str)]) {
    for (id, figure) in figures {
        let (id, figure) = (json!(id), json!(figure));
        tab.until(&format!("document.getElementById({id}).textContent === {figure}")).await;
    }
}

/// Waits until the table has exactly these rows.
async fn shows_rows(tab: &Tab, rows: &[(&str, &str)]) {
    let rows = json!(json!(rows).to_string());
    tab.until(&format!(
        "JSON.stringify([...document.querySelectorAll('#plays-body tr')].map((row) =>
            [row.querySelector('.video').textContent, row.children[1].textContent])) === {rows}"
    ))
    .await;
}

async fn shows_points(tab: &Tab, line: &str, points: u32) {
    tab.until(&format!(
        "document.querySelector('#pulse-chart path.{line}').getAttribute('d').split(/[ML]/).length - 1 === {points}"
    ))
    .await;
}

async fn sort(tab: &Tab, column: &str) {
    tab.click(&format!("#plays-table [data-column={column}] button")).await;
}

/// What the heads say about the order: of the video, the count, and the time of the change.
async fn sorted(tab: &Tab) -> Value {
    let script = "return [...document.querySelectorAll('#plays-table [data-column]')]
        .map((head) => head.getAttribute('aria-sort'))";
    tab.run(script).await
}

#[tokio::test]
async fn counts_appear_and_move_while_one_watches() {
    let browser = Browser::open().await;
    let world = start().await;
    let tab = open(&browser, &world, WIDE).await;
    tab.shows("#plays-empty", "mayfly simulate plays --live").await;
    tab.until("document.querySelector('#plays-filled').hidden").await;

    play(&world, &[("first", 1_000), ("second", 400)]).await;
    shows_rows(&tab, &[("first", "1,000"), ("second", "400")]).await;
    tab.until("document.querySelector('#plays-empty').hidden").await;
    shows_figures(&tab, &[("plays-videos", "2"), ("plays-total", "1,400")]).await;
    let bars = "return [...document.querySelectorAll('#plays-body th')]
        .map((one) => one.style.getPropertyValue('--part'))";
    assert_eq!(tab.run(bars).await, json!(["100%", "40%"]));
    tab.until("!document.querySelector('#plays-body .fresh')").await;
    tab.run("document.querySelectorAll('#plays-body tr').forEach((row) => (row.isSame = true))")
        .await;

    // What has overtaken the other is moved, not made again, and marked for a moment.
    tab.run(
        "window.marked = new Set();
         const look = (changes) => changes.forEach(({ target }) =>
             target.className === 'fresh' && marked.add(target.querySelector('.video').textContent));
         new MutationObserver(look).observe(document.querySelector('#plays-body'),
             { subtree: true, attributeFilter: ['class'] })",
    )
    .await;
    play(&world, &[("second", 2_000)]).await;
    shows_rows(&tab, &[("second", "2,000"), ("first", "1,000")]).await;
    shows_figures(&tab, &[("plays-videos", "2"), ("plays-total", "3,000")]).await;
    assert_eq!(tab.run(bars).await, json!(["100%", "50%"]));
    tab.until("marked.size > 0 && !document.querySelector('#plays-body .fresh')").await;
    assert_eq!(tab.run("return [...marked]").await, json!(["second"]));
    let same = "return [...document.querySelectorAll('#plays-body tr')].every((row) => row.isSame)";
    assert_eq!(tab.run(same).await, true);
}

#[tokio::test]
async fn after_a_cut_the_page_says_that_counts_may_be_old() {
    let browser = Browser::open().await;
    let world = start().await;
    let tab = open(&browser, &world, WIDE).await;
    let said = "return document.querySelector('#plays-cut').textContent";
    let reconnect = async || {
        tab.click("#toggle").await;
        tab.shows("#pill-text", "Off").await;
        tab.click("#toggle").await;
        tab.shows("#pill-text", "Live").await;
    };
    reconnect().await;
    assert_eq!(tab.run(said).await, "", "there was no count yet");
    play(&world, &[("first", 1)]).await;
    shows_rows(&tab, &[("first", "1")]).await;
    assert_eq!(tab.run(said).await, "");
    reconnect().await;
    tab.shows("#plays-cut", "a count that has not changed since may be old").await;
    play(&world, &[("first", 2)]).await;
    shows_rows(&tab, &[("first", "2")]).await;
}

#[tokio::test]
async fn the_heads_of_the_table_sort_it() {
    let browser = Browser::open().await;
    let world = start().await;
    let tab = open(&browser, &world, NARROW).await;
    play(&world, &[("a-2", 20), ("b", 10), ("a-10", 30), ("c", 10)]).await;
    let (a2, a10, b, c) = (("a-2", "20"), ("a-10", "30"), ("b", "10"), ("c", "10"));
    shows_rows(&tab, &[a10, a2, b, c]).await;
    assert_eq!(sorted(&tab).await, json!([null, "descending", null]));

    sort(&tab, "count").await;
    shows_rows(&tab, &[b, c, a2, a10]).await;
    assert_eq!(sorted(&tab).await, json!([null, "ascending", null]));
    sort(&tab, "video").await;
    shows_rows(&tab, &[a2, a10, b, c]).await;
    assert_eq!(sorted(&tab).await, json!(["ascending", null, null]));
    sort(&tab, "video").await;
    shows_rows(&tab, &[c, b, a10, a2]).await;
    assert_eq!(sorted(&tab).await, json!(["descending", null, null]));

    // What came together stands in the order of its counts, until something comes later.
    sort(&tab, "changed").await;
    shows_rows(&tab, &[a10, a2, b, c]).await;
    assert_eq!(sorted(&tab).await, json!([null, null, "descending"]));
    play(&world, &[("c", 11)]).await;
    shows_rows(&tab, &[("c", "11"), a10, a2, b]).await;
    play(&world, &[("a-2", 21), ("a-10", 30)]).await;
    shows_rows(&tab, &[("a-2", "21"), ("c", "11"), a10, b]).await;
    sort(&tab, "count").await;
    shows_rows(&tab, &[a10, ("a-2", "21"), ("c", "11"), b]).await;
}

#[tokio::test]
async fn names_of_videos_are_text_and_break_no_layout() {
    let browser = Browser::open().await;
    let world = start().await;
    let nasty = [
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
        "--part: 1000%",
        "__proto__",
    ];
    let most = 9_007_199_254_740_991;
    for width in [NARROW, 800, WIDE] {
        let tab = open(&browser, &world, width).await;
        // All are different from the counts for the page before.
        let counts: Vec<_> =
            (0..).zip(nasty).map(|(n, id)| (id, most - u64::from(width) - n)).collect();
        play(&world, &counts).await;
        publish(&world, &pulse(width % 60, &json!({"latest": 9e9, "average": 0.04}))).await;
        tab.until("document.querySelectorAll('#plays-body tr').length === 12").await;
        tab.until("!document.querySelector('#pulse-filled').hidden").await;
        let names = "return [...document.querySelectorAll('#plays-body .video bdi')]
            .map((one) => one.textContent)";
        assert_eq!(tab.run(names).await, json!(nasty));
        tab.until("document.scrollingElement.scrollWidth <= innerWidth").await;
        let within = "['.plays', '.pulse'].every((name) => {
            const panel = document.querySelector(name).getBoundingClientRect();
            return [...document.querySelectorAll(`${name} *`)].every((one) => {
                const { left, right } = one.getBoundingClientRect();
                return one.closest('.video, .unseen') || left === right ||
                    (left >= panel.left - 1 && right <= panel.right + 1);
            });
        })";
        tab.until(within).await;
        let low = "[...document.querySelectorAll('#plays-body tr')].every((one) => one.offsetHeight < 90)";
        tab.until(low).await;
        // The feed sticks while the page is scrolled, and lies on nothing then.
        tab.run("document.querySelector('#pulse').scrollIntoView()").await;
        let apart = "document.querySelector('.feed').getBoundingClientRect().bottom <=
            document.querySelector('#plays').getBoundingClientRect().top";
        tab.until(apart).await;
        let made = "return document.querySelectorAll('#plays-body :is(script, img)').length";
        assert_eq!(tab.run(made).await, 0);
        assert_eq!(tab.run("return document.title").await, "Mayfly");
    }
}

#[tokio::test]
async fn the_table_stays_small_however_many_videos_there_are() {
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
        play(&world, &frame).await;
    }
    tab.until("document.querySelector('#plays-body .video')?.textContent === 'video-1200'").await;
    // The plays of the videos from 201 to 1200.
    shows_figures(&tab, &[("plays-videos", "1,000"), ("plays-total", "700,500")]).await;
    tab.until("document.querySelectorAll('#plays-body tr').length === 100").await;
    tab.shows("#plays-more", "The first 100 of these 1,000 videos").await;
    tab.shows("#plays-more", "the 1,000 with the most plays").await;
    assert_eq!(tab.run("return mostRows").await, 100);

    // Of those out of sight, one comes up.
    play(&world, &[("video-300", 5_000), ("video-1", 2)]).await;
    tab.until("document.querySelector('#plays-body .video').textContent === 'video-300'").await;
    shows_figures(&tab, &[("plays-videos", "1,000"), ("plays-total", "705,200")]).await;
    assert_eq!(tab.run("return mostRows").await, 100);
}

#[tokio::test]
async fn the_pulse_is_shown_in_figures_and_as_lines() {
    let browser = Browser::open().await;
    let world = start().await;
    let tab = open(&browser, &world, WIDE).await;
    tab.shows("#pulse-empty", "no pulse yet").await;
    tab.until("document.querySelector('#pulse-filled').hidden").await;

    let consumption = json!({"latest": 12.0, "average": 1_250.0, "p50": 0.44, "p99": 80.1});
    publish(&world, &pulse(1, &consumption)).await;
    let figures = [
        ("pulse-accepted", "1,235"),
        ("pulse-stored", "3.3"),
        ("pulse-delivered", "50,000"),
        ("pulse-depth", "1,234"),
        ("pulse-oldest", "2.1 min"),
        ("pulse-dead", "2"),
        ("pulse-connections", "3"),
        ("pulse-latest", "12 ms"),
        ("pulse-average", "1.3 s"),
        ("pulse-p50", "0.4 ms"),
        ("pulse-p99", "80 ms"),
    ];
    shows_figures(&tab, &figures).await;
    tab.until("document.querySelector('#pulse-empty').hidden").await;
    let made = "return document.querySelector('#pulse-made time').dateTime";
    assert_eq!(tab.run(made).await, "2026-11-27T20:00:01.000Z");
    shows_points(&tab, "latest", 1).await;
    for second in 2..=4 {
        publish(&world, &pulse(second, &consumption)).await;
        shows_points(&tab, "latest", second).await;
        shows_points(&tab, "average", second).await;
    }
    let said = "document.querySelector('#pulse-chart').getAttribute('aria-label')";
    tab.until(&format!("{said}.includes('latest 12 ms, average 1.3 s')")).await;
    let labels =
        "[...document.querySelectorAll('#pulse-chart text')].map((one) => one.textContent)";
    tab.until(&format!("{labels}.includes('1.5 s') && {labels}.includes('now')")).await;

    // Where nothing was consumed, nothing is drawn.
    let nothing = json!({"latest": null, "average": null, "p50": null, "p99": null});
    let mut quiet = pulse(5, &nothing);
    quiet["queue"] = json!({"depth": 0, "oldest_age_ms": 0, "dead_letters": 0});
    publish(&world, &quiet).await;
    let none = ["oldest", "latest", "average", "p50", "p99"].map(|name| format!("pulse-{name}"));
    let none: Vec<_> = none.iter().map(|id| (id.as_str(), "–")).collect();
    shows_figures(&tab, &none).await;
    shows_figures(&tab, &[("pulse-depth", "0"), ("pulse-dead", "0")]).await;
    shows_points(&tab, "latest", 4).await;
    tab.until(&format!("{said}.includes('latest unknown, average unknown')")).await;

    // Who comes later is told the last one at once. When no more come, both say so.
    let other = open(&browser, &world, NARROW).await;
    shows_figures(&other, &[("pulse-delivered", "50,000")]).await;
    for tab in [&tab, &other] {
        tab.shows("#pulse-stale", "Stale").await;
    }
    publish(&world, &pulse(6, &consumption)).await;
    for tab in [&tab, &other] {
        tab.until("document.querySelector('#pulse-stale').textContent === ''").await;
        shows_figures(tab, &figures).await;
    }
    shows_points(&tab, "latest", 5).await;
}

#[tokio::test]
async fn the_page_asks_for_nothing_again_and_again() {
    let browser = Browser::open().await;
    let world = start().await;
    let tab = open(&browser, &world, WIDE).await;
    // Messages that were live before are asked for at first, and once more.
    tab.run("await new Promise((done) => setTimeout(done, 4000))").await;
    let before = tab.run(&format!("return {REQUESTS}")).await;
    let configs = format!("return {REQUESTS}.filter((path) => path === '/config.json').length");
    assert_eq!(tab.run(&configs).await, 1);

    for second in 1..=4 {
        let consumption = json!({"latest": 12.0, "average": 15.0, "p50": 11.0, "p99": 80.0});
        publish(&world, &pulse(second, &consumption)).await;
        play(&world, &[("watched", u64::from(second))]).await;
        shows_points(&tab, "latest", second).await;
        let count = second.to_string();
        shows_rows(&tab, &[("watched", count.as_str())]).await;
        tab.run("await new Promise((done) => setTimeout(done, 1000))").await;
    }
    assert_eq!(tab.run(&format!("return {REQUESTS}")).await, before);
}
