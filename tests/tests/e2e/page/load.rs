//! A measurement of the main thread of the page under load.

use std::time::Duration;

use mayfly_stack::Service;
use mayfly_tests::{Browser, Setup, is_full, short_or_full};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{WIDE, page_url};

/// The maximum number of messages that the page lists.
const CARDS_MAX: u64 = 200;
const BATCH_INTERVAL: Duration = Duration::from_millis(200);
/// The maximum duration of a task on the main thread. A task takes a small part of this time, even
/// if other processes interrupt it.
const TASK_MS_MAX: u64 = 2_000;

/// Records tasks over 50 ms, the time between frames, the number of cards, and how many of the cards
/// in view are visible.
const OBSERVE: &str = "
    window.seen = { tasks: [], gaps: [], cards: 0, inView: 0, visible: 0 };
    new PerformanceObserver((list) => seen.tasks.push(...list.getEntries().map(({ duration }) => duration)))
        .observe({ type: 'longtask' });
    let last = performance.now();
    const list = document.querySelector('#feed');
    const scroller = document.querySelector('#feed-scroll');
    const look = (time) => {
        seen.gaps.push(time - last);
        last = time;
        seen.cards = Math.max(seen.cards, list.childElementCount);
        const { top, bottom } = scroller.getBoundingClientRect();
        for (const card of list.children) {
            const place = card.getBoundingClientRect();
            if (place.top > bottom) break;
            if (place.bottom < top) continue;
            seen.inView += 1;
            if (getComputedStyle(card).opacity > 0.9) seen.visible += 1;
        }
        requestAnimationFrame(look);
    };
    requestAnimationFrame(look)";

const REPORT: &str = "
    const { tasks, gaps, cards, inView, visible } = seen;
    gaps.sort((a, b) => a - b);
    const sum = tasks.reduce((sum, ms) => sum + ms, 0);
    return {
        long_tasks: tasks.length, long_tasks_ms: Math.round(sum), longest_task_ms: Math.round(Math.max(0, ...tasks)),
        frames: gaps.length, frame_p95_ms: Math.round(gaps[Math.floor(gaps.length * 0.95)]),
        longest_frame_ms: Math.round(gaps.at(-1)), cards, visible_share: Number((visible / (inView || 1)).toFixed(3)),
        received: document.querySelector('#feed-received')?.textContent,
        state: document.querySelector('#status-text').textContent,
    }";

/// Every card in view is visible, the number of cards is limited, and no task blocks the main thread
/// for seconds. In a full run, the test prints one line of figures per rate: run it alone, with
/// `--nocapture`.
#[tokio::test]
async fn cards_are_visible_and_limited_under_load() {
    let rates: &[usize] = if is_full() { &[25, 100, 1_000] } else { &[200] };
    let duration = Duration::from_secs(short_or_full(2, 10));
    for &rate in rates {
        let browser = Browser::open().await;
        let world = Setup::new().scale(Service::WsFanout, 1).start().await;
        let tab = browser.open_tab(&page_url(&world), WIDE).await;
        tab.wait_for_text("#status-text", "Live").await;
        tab.run(OBSERVE).await;
        let before = tab.read_metrics().await;
        let started = Instant::now();
        let mut ticks = interval(BATCH_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut sent = 0;
        while started.elapsed() < duration {
            ticks.tick().await;
            // Many users, since an inbox is bounded.
            let message = |number| {
                let username = format!("user {}", number % 50);
                json!({"text": format!("message {number}"), "username": username, "ttl": 60})
            };
            let batch: Vec<Value> = (sent..sent + rate / 5).map(message).collect();
            sent += batch.len();
            let response = world.post("/v1/messages/batch", &batch.into()).await;
            assert_eq!(response.status(), 202);
        }
        let after = tab.read_metrics().await;
        let elapsed = started.elapsed().as_secs_f64();
        let report = tab.run(REPORT).await;
        assert_eq!(report["visible_share"], 1, "{report}");
        assert!(report["cards"].as_u64().is_some_and(|cards| cards <= CARDS_MAX), "{report}");
        let longest_ms = report["longest_task_ms"].as_u64();
        assert!(longest_ms.is_some_and(|longest| longest < TASK_MS_MAX), "{report}");
        let increase = |name: &str| after[name] - before[name];
        println!(
            "{rate}/s sent={sent} {report} main_thread={:.2} layouts_per_s={:.1} styles_per_s={:.1}",
            increase("TaskDuration") / elapsed,
            increase("LayoutCount") / elapsed,
            increase("RecalcStyleCount") / elapsed,
        );
    }
}
