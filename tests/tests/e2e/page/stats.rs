//! The panel of statistics.

use mayfly_stack::Service;
use mayfly_tests::{Browser, Setup, Tab, World};
use redis::AsyncCommands;
use serde_json::{Value, json};

use super::{NARROW, WIDE, page_url};

/// Starts a stack in which the test publishes the snapshots.
async fn start() -> World {
    Setup::new().scale(Service::WsFanout, 1).scale(Service::PersistWorker, 0).start().await
}

async fn publish(world: &World, snapshot: &Value) {
    let mut redis = world.redis().await;
    let (key, channel) = (world.key("stats"), world.key("feed:stats"));
    redis.set::<_, _, ()>(key, snapshot.to_string()).await.expect("Redis is available");
    redis.publish::<_, _, ()>(channel, snapshot.to_string()).await.expect("Redis is available");
}

fn make_snapshot(second: u32, total: u64, top_cities: &Value) -> Value {
    json!({
        "result": "success",
        "generated_at": format!("2026-11-20T19:07:{second:02}.000Z"),
        "cities": 0,
        "users": 90_211,
        "messages": {"total": total, "last_hour": 8_431, "last_minute": 0},
        "top_cities": top_cities,
    })
}

async fn wait_for_figures(tab: &Tab, figures: [(&str, &str); 5]) {
    for (id, figure) in figures {
        let id = json!(format!("stats-{id}"));
        tab.wait_until(&format!("document.getElementById({id}).textContent === {}", json!(figure)))
            .await;
    }
}

#[tokio::test]
async fn panel_shows_the_last_snapshot_and_updates_live() {
    let browser = Browser::open().await;
    let world = start().await;
    let tab = browser.open_tab(&page_url(&world), WIDE).await;
    tab.wait_for_text("#status-text", "Live").await;
    tab.wait_until("!document.querySelector('#stats-empty').hidden").await;
    tab.wait_until("document.querySelector('#stats-content').hidden").await;
    tab.wait_for_text("#stats-empty", "No snapshot yet").await;
    tab.run("window.isSame = true").await;

    let oslo = json!([{"city": "Oslo", "state": null, "messages": 1_200_000}]);
    publish(&world, &make_snapshot(1, 1_234_567, &oslo)).await;
    let rest = [("hour", "8,431"), ("minute", "0"), ("cities", "0"), ("users", "90,211")];
    let [hour, minute, cities, users] = rest;
    wait_for_figures(&tab, [("total", "1,234,567"), hour, minute, cities, users]).await;
    tab.wait_until("document.querySelector('#stats-empty').hidden").await;
    tab.wait_for_text("#stats-top th[scope=row]", "Oslo").await;
    tab.wait_for_text("#stats-top td", "1,200,000").await;
    let time = "return document.querySelector('#stats-time time').dateTime";
    assert_eq!(tab.run(time).await, "2026-11-20T19:07:01.000Z");

    publish(&world, &make_snapshot(2, 1_234_568, &json!([]))).await;
    wait_for_figures(&tab, [("total", "1,234,568"), hour, minute, cities, users]).await;
    tab.wait_until("document.querySelector('#stats-table').hidden").await;
    assert_eq!(tab.run("return window.isSame").await, true, "without a reload");

    // Messages arrive on the same connection.
    world.post_message(&json!({"text": "next to the statistics", "ttl": 600})).await;
    tab.wait_for_text("#feed", "next to the statistics").await;
    let other = browser.open_tab(&page_url(&world), NARROW).await;
    wait_for_figures(&other, [("total", "1,234,568"), hour, minute, cities, users]).await;
    let links = "return ['stats-json', 'stats-docs'].map((id) => document.getElementById(id).href)";
    let expected = json!([world.list_url("/v1/stats"), world.list_url("/docs")]);
    assert_eq!(tab.run(links).await, expected);
}

#[tokio::test]
async fn city_names_are_text_and_do_not_break_the_layout() {
    let browser = Browser::open().await;
    let world = start().await;
    let hostile = [
        ("<script>document.title = 'broken'</script>", Some("<b>bold</b>")),
        ("<img src=x onerror=\"document.title = 'broken'\">", None),
        (&"W".repeat(64), Some(&*"S".repeat(64))),
        ("\u{202e}right to left, never closed", Some("\u{2067}")),
        ("القاهرة", None),
        (&format!("Z{}", "\u{301}\u{316}".repeat(31)), None),
        ("🦋👩‍👩‍👧‍👦", Some("🦋")),
        (" ", None),
        ("line\nline\tline", None),
        ("\"'&amp;", Some("--share: 1000%")),
    ];
    let cities: Vec<_> = hostile
        .iter()
        .map(|(city, state)| json!({"city": city, "state": state, "messages": 9_007_199_254_740_991_u64}))
        .collect();
    publish(&world, &make_snapshot(1, 9_007_199_254_740_991, &json!(cities))).await;
    for width in [NARROW, 800, WIDE] {
        let tab = browser.open_tab(&page_url(&world), width).await;
        tab.wait_until("document.querySelectorAll('#stats-top tr').length === 10").await;
        let names = "return [...document.querySelectorAll('#stats-top .city bdi:first-child')]
            .map((element) => element.textContent)";
        let expected: Vec<_> = hostile.iter().map(|(city, _)| *city).collect();
        assert_eq!(tab.run(names).await, json!(expected));
        tab.wait_until("document.scrollingElement.scrollWidth <= innerWidth").await;
        let fits = "[...document.querySelectorAll('.stats, .stats *')].every((element) => {
            const { left, right } = element.getBoundingClientRect();
            const panel = document.querySelector('.stats').getBoundingClientRect();
            return element.closest('.city') || left === right || (left >= panel.left - 1 && right <= panel.right + 1);
        })";
        tab.wait_until(fits).await;
        let is_low = "[...document.querySelectorAll('#stats-top tr')].every((element) => element.offsetHeight < 70)";
        tab.wait_until(is_low).await;
        let injected = "return document.querySelectorAll('#stats-top :is(script, img, b)').length";
        assert_eq!(tab.run(injected).await, 0);
        assert_eq!(tab.run("return document.title").await, "Mayfly");
    }
}
