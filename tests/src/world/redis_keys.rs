//! Reads of the stack's Redis keys.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::World;

impl World {
    /// Returns the remaining TTL of a message's hot copy in milliseconds, or -2 if the copy does
    /// not exist.
    ///
    /// # Panics
    /// If Redis is unavailable.
    pub async fn pttl(&self, id: &str) -> i64 {
        let key = self.key(&format!("message:{id}"));
        let ttl = redis::cmd("PTTL").arg(key).query_async(&mut self.redis().await).await;
        ttl.expect("Redis responds")
    }

    /// Returns whether a message is accepted but not stored yet.
    ///
    /// # Panics
    /// If Redis is unavailable.
    pub async fn is_waiting(&self, id: &str) -> bool {
        let mut command = redis::cmd("HEXISTS");
        command.arg(self.key("waiting")).arg(id);
        command.query_async(&mut self.redis().await).await.expect("Redis responds")
    }

    /// Returns the names of all keys of the stack, without the prefix, and without the short-lived
    /// keys that running services keep writing: leases and the key of the health check.
    ///
    /// # Panics
    /// If Redis is unavailable.
    pub async fn keys(&self) -> BTreeSet<String> {
        let mut redis = self.redis().await;
        let prefix = self.key("");
        let (mut found, mut cursor) = (BTreeSet::new(), 0_u64);
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{prefix}*")).arg("COUNT").arg(1_000);
            let (next, names): (u64, Vec<String>) =
                scan.query_async(&mut redis).await.expect("Redis responds");
            let names = names.iter().map(|name| &name[prefix.len()..]);
            found.extend(names.filter(|name| !is_short_lived(name)).map(str::to_owned));
            cursor = next;
            if cursor == 0 {
                return found;
            }
        }
    }
}

fn is_short_lived(name: &str) -> bool {
    name == "probe" || (name.starts_with("lease:") && !name.ends_with(":token"))
}

/// Returns the ID of a message.
///
/// # Panics
/// If the message has no ID.
#[must_use]
pub fn message_id(message: &Value) -> &str {
    message["id"].as_str().expect("a message has an id")
}

/// Returns the IDs of messages, in order.
#[must_use]
pub fn message_ids(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(message_id).collect()
}
