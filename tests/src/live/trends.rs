//! Trend snapshots of hosts, written to Redis as a sampler writes them.

use redis::AsyncCommands;
use serde_json::{Value, json};

use crate::World;

/// Builds a trend snapshot sampled at this second of an hour. Each page is a tuple of path,
/// visitors and previous visitors.
///
/// # Panics
/// If `second` is not within an hour.
#[must_use]
pub fn trend_snapshot(host: &str, second: u64, pages: &[(&str, u64, Option<u64>)]) -> Value {
    assert!(second < 3_600, "{second} is not a second of an hour");
    let time = |second: u64| format!("2026-11-20T19:{:02}:{:02}.000Z", second / 60, second % 60);
    let page = |(path, visitors, before): &(&str, u64, Option<u64>)| {
        json!({"path": path, "title": null, "visitors": visitors, "before": before,
            "usual": null})
    };
    json!({
        "host": host,
        "sampled_at": time(second),
        "visitors": pages.iter().map(|(_, visitors, _)| visitors).sum::<u64>(),
        "exact": true,
        "compared_to": second.checked_sub(5).map(time),
        "pages": pages.iter().map(page).collect::<Vec<_>>(),
    })
}

impl World {
    /// Stores a trend snapshot under its key without publishing it.
    ///
    /// # Panics
    /// If Redis is unavailable.
    pub async fn store_trend(&self, trend: &Value) {
        let host = trend["host"].as_str().expect("`host` is set");
        // Keys encode the colon before a port.
        let host = host.to_lowercase().replace(':', "%3A");
        let key = self.key(&format!("rising:host:{host}"));
        let stored = self.redis().await.set::<_, _, ()>(key, trend.to_string()).await;
        stored.expect("Redis responds");
    }

    /// Publishes a text on the feed `rising`. Returns the number of subscribers that received it.
    ///
    /// # Panics
    /// If Redis is unavailable.
    pub async fn publish_trend_text(&self, text: &str) -> usize {
        let receivers = self.redis().await.publish(self.key("feed:rising"), text).await;
        receivers.expect("Redis responds")
    }

    /// Stores and publishes a trend snapshot. Returns the number of subscribers that received it.
    ///
    /// # Panics
    /// If Redis is unavailable.
    pub async fn publish_trend(&self, trend: &Value) -> usize {
        self.store_trend(trend).await;
        self.publish_trend_text(&trend.to_string()).await
    }
}
