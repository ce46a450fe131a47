//! The panel of the statistics.

use mayfly_stack::Service;
use mayfly_tests::{Browser, Setup, Tab, World};
use redis::AsyncCommands;
use serde_json::{Value, json};

use super::{NARROW, WIDE, page};

/// A Mayfly whose snapshots are made by the test.
async fn start() -> World {
    Setup::new().with(Service::WsFanout, 1).with(Service::PersistWorker, 0).start().await
}

async fn publish(world: &World, snapshot: &Value) {
    let mut redis = world.redis().await;
    let (key, channel) = (world.key("stats"), world.key("feed:stats"));
    redis.set::<_, _, ()>(key, snapshot.to_string()).await.expect("Redis answers");
    redis.publish::<_, _, ()>(channel, snapshot.to_string()).await.expect("Redis answers");
}

fn snapshot(second: u32, total: u64, top_cities: &Value) -> Value {
    json!({
        "result": "success",
        "generated_at": format!("2026-11-20T19:07:{second:02}.000Z"),
        "cities": 0,
        "users": 90_211,
        "messages": {"total": total, "last_hour": 8_431, "last_minute": 0},
        "top_cities": top_cities,
    })
}

async fn shows_figures(tab: &Tab, figures: [(&str, &str); 5]) {
    for (id, figure) in figures {
        let id = json!(format!("stats-{id}"));
        tab.until(&format!("document.getElementById({id}).textContent === {}", json!(figure)))
            .await;
    }
}

#[tokio::test]
async fn the_panel_shows_the_last_snapshot_and_changes_by_itself() {
    let browser = Browser::open().await;
    let world = start().await;
    let tab = browser.tab(&page(&world), WIDE).await;
    tab.shows("#pill-text", "Live").await;
    tab.until("!document.querySelector('#stats-empty').hidden").await;
    tab.until("document.querySelector('#stats-body').hidden").await;
    tab.shows("#stats-empty", "no snapshot yet").await;
    tab.run("window.isSame = true").await;

    let oslo = json!([{"city": "Oslo", "state": null, "messages": 1_200_000}]);
    publish(&world, &snapshot(1, 1_234_567, &oslo)).await;
    let rest = [("hour", "8,431"), ("minute", "0"), ("cities", "0"), ("users", "90,211")];
    let [hour, minute, cities, users] = rest;
    shows_figures(&tab, [("total", "1,234,567"), hour, minute, cities, users]).await;
    tab.until("document.querySelector('#stats-empty').hidden").await;
    tab.shows("#stats-top th[scope=row]", "Oslo").await;
    tab.shows("#stats-top td", "1,200,000").await;
    let made = "return document.querySelector('#stats-made time').dateTime";
    assert_eq!(tab.run(made).await, "2026-11-20T19:07:01.000Z");

    publish(&world, &snapshot(2, 1_234_568, &json!([]))).await;
    shows_figures(&tab, [("total", "1,234,568"), hour, minute, cities, users]).await;
    tab.until("document.querySelector('#stats-table').hidden").await;
    assert_eq!(tab.run("return window.isSame").await, true, "without a reload");

    // Messages come over the same connection.
    world.post_message(&json!({"text": "beside the statistics", "ttl": 600})).await;
    tab.shows("#feed", "beside the statistics").await;
    let other = browser.tab(&page(&world), NARROW).await;
    shows_figures(&other, [("total", "1,234,568"), hour, minute, cities, users]).await;
    let links = "return ['stats-json', 'stats-docs'].map((id) => document.getElementById(id).href)";
    let expected = json!([world.list("/v1/stats"), world.list("/docs")]);
    assert_eq!(tab.run(links).await, expected);
}

#[tokio::test]
async fn names_of_cities_are_text_and_break_no_layout() {
    let browser = Browser::open().await;
    let world = start().await;
    let nasty = [
        ("<script>document.title = 'broken'</script>", Some("<b>bold</b>")),
        ("<img src=x onerror=\"document.title = 'broken'\">", None),
        (&"W".repeat(64), Some(&*"S".repeat(64))),
        ("\u{202e}right to left, never closed", Some("\u{2067}")),
        ("القاهرة", None),
        (&format!("Z{}", "\u{301}\u{316}".repeat(31)), None),
        ("🦋👩‍👩‍👧‍👦", Some("🦋")),
        (" ", None),
        ("line\nline\tline", None),
        ("\"'&amp;", Some("--part: 1000%")),
    ];
    let cities: Vec<_> = nasty
        .iter()
        .map(|(city, state)| json!({"city": city, "state": state, "messages": 9_007_199_254_740_991_u64}))
        .collect();
    publish(&world, &snapshot(1, 9_007_199_254_740_991, &json!(cities))).await;
    for width in [NARROW, 800, WIDE] {
        let tab = browser.tab(&page(&world), width).await;
        tab.until("document.querySelectorAll('#stats-top tr').length === 10").await;
        let names = "return [...document.querySelectorAll('#stats-top .city bdi:first-child')]
            .map((one) => one.textContent)";
        let expected: Vec<_> = nasty.iter().map(|(city, _)| *city).collect();
        assert_eq!(tab.run(names).await, json!(expected));
        tab.until("document.scrollingElement.scrollWidth <= innerWidth").await;
        let within = "[...document.querySelectorAll('.stats, .stats *')].every((one) => {
            const { left, right } = one.getBoundingClientRect();
            const panel = document.querySelector('.stats').getBoundingClientRect();
            return one.closest('.city') || left === right || (left >= panel.left - 1 && right <= panel.right + 1);
        })";
        tab.until(within).await;
        let low =
            "[...document.querySelectorAll('#stats-top tr')].every((one) => one.offsetHeight < 70)";
        tab.until(low).await;
        let made = "return document.querySelectorAll('#stats-top :is(script, img, b)').length";
        assert_eq!(tab.run(made).await, 0);
        assert_eq!(tab.run("return document.title").await, "Mayfly");
    }
}
