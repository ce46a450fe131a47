//! What a Mayfly keeps in Redis, looked at from outside.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::World;

impl World {
    /// What is left of the time to live of a message's hot copy, in milliseconds; -2 without one.
    ///
    /// # Panics
    /// When Redis does not answer.
    pub async fn pttl(&self, id: &str) -> i64 {
        let key = self.key(&format!("message:{id}"));
        let asked = redis::cmd("PTTL").arg(key).query_async(&mut self.redis().await).await;
        asked.expect("Redis answers")
    }

    /// Whether a message is accepted and not yet stored.
    ///
    /// # Panics
    /// When Redis does not answer.
    pub async fn is_waiting(&self, id: &str) -> bool {
        let mut asked = redis::cmd("HEXISTS");
        asked.arg(self.key("waiting")).arg(id);
        asked.query_async(&mut self.redis().await).await.expect("Redis answers")
    }

    /// The names of all keys of this Mayfly, without its prefix.
    ///
    /// # Panics
    /// When Redis does not answer.
    pub async fn keys(&self) -> BTreeSet<String> {
        let mut redis = self.redis().await;
        let all = self.key("");
        let (mut found, mut cursor) = (BTreeSet::new(), 0_u64);
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{all}*")).arg("COUNT").arg(1_000);
            let (next, names): (u64, Vec<String>) =
                scan.query_async(&mut redis).await.expect("Redis answers");
            found.extend(names.iter().map(|name| name[all.len()..].to_owned()));
            cursor = next;
            if cursor == 0 {
                return found;
            }
        }
    }
}

/// The id of a message.
///
/// # Panics
/// When it has none.
#[must_use]
pub fn id_of(message: &Value) -> &str {
    message["id"].as_str().expect("a message has an id")
}

/// The ids of messages, in their order.
#[must_use]
pub fn ids_of(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(id_of).collect()
}
