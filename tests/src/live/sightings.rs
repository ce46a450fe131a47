//! Sightings of hosts, as those who sample write them into Redis.

use redis::AsyncCommands;
use serde_json::{Value, json};

use crate::World;

/// A sighting of this second, whose pages have a path, visitors, and visitors before.
///
/// # Panics
/// When an hour has no such second.
#[must_use]
pub fn sighting(host: &str, second: u64, pages: &[(&str, u64, Option<u64>)]) -> Value {
    assert!(second < 3_600, "an hour has no such second: {second}");
    let time = |second: u64| format!("2026-11-20T19:{:02}:{:02}.000Z", second / 60, second % 60);
    let page = |(path, visitors, before): &(&str, u64, Option<u64>)| json!({"path": path, "title": null, "visitors": visitors, "before": before, "usual": null});
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
    /// Puts a sighting under its key, and says nothing of it.
    ///
    /// # Panics
    /// When Redis does not answer.
    pub async fn store_sighting(&self, sighting: &Value) {
        let host = sighting["host"].as_str().expect("a sighting has a host");
        let key = self.key(&format!("rising:host:{}", host.to_lowercase()));
        let stored = self.redis().await.set::<_, _, ()>(key, sighting.to_string()).await;
        stored.expect("Redis answers");
    }

    /// Publishes a sighting, or whatever else; gives how many heard it.
    ///
    /// # Panics
    /// When Redis does not answer.
    pub async fn tell_sighting(&self, text: &str) -> usize {
        let told = self.redis().await.publish(self.key("feed:rising"), text).await;
        told.expect("Redis answers")
    }

    /// Does both, as those who sample do; gives how many heard it.
    ///
    /// # Panics
    /// When Redis does not answer.
    pub async fn publish_sighting(&self, sighting: &Value) -> usize {
        self.store_sighting(sighting).await;
        self.tell_sighting(&sighting.to_string()).await
    }
}
