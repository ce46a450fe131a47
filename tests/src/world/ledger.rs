//! The state of both stores, read without going through the services.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use mayfly_stack::Service;
use redis::AsyncCommands;

use crate::{World, bin_dir, eventually};

/// The Redis keys without a TTL in a stack that has processed only messages.
pub const PERSISTENT_KEYS: [&str; 10] = [
    "consumption:messages",
    "epoch",
    "keys",
    "keys:version",
    "lease:maintenance:token",
    "ledger",
    "messages",
    "plays",
    "revocations",
    "revocations:version",
];

/// The message counts of the current epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerSums {
    /// The value of the Redis key `epoch`.
    pub epoch: String,
    /// Messages accepted, counted in Redis.
    pub accepted: i64,
    /// Messages stored, counted in Postgres.
    pub stored: i64,
    /// Messages in the dead-letter queue.
    pub dead_lettered: i64,
    /// Pending and undelivered stream entries, and accepted messages that are not stored yet.
    pub in_flight: i64,
}

impl World {
    /// Reads the message counts of the current epoch from both stores.
    ///
    /// # Panics
    /// If a store is unavailable.
    pub async fn ledger_sums(&self) -> LedgerSums {
        let mut redis = self.redis().await;
        let epoch: Option<String> = redis.get(self.key("epoch")).await.expect("Redis responds");
        let epoch = epoch.unwrap_or_default();
        let accepted: Option<i64> =
            redis.hget(self.key("ledger"), "messages.accepted").await.expect("Redis responds");
        let waiting: i64 = redis.hlen(self.key("waiting")).await.expect("Redis responds");
        let postgres = self.postgres().await;
        let row = postgres
            .query_opt(
                "SELECT stored, dead_lettered FROM ledger WHERE epoch = $1 AND kind = 'messages'",
                &[&epoch],
            )
            .await
            .expect("Postgres responds");
        let (stored, dead_lettered) = row.map_or((0, 0), |row| (row.get(0), row.get(1)));
        let in_flight = waiting + self.queued_entries().await;
        LedgerSums { epoch, accepted: accepted.unwrap_or(0), stored, dead_lettered, in_flight }
    }

    /// Returns the number of stream entries that are pending in the workers' consumer group or have
    /// not been delivered to the group.
    async fn queued_entries(&self) -> i64 {
        let groups: Result<Vec<HashMap<String, redis::Value>>, _> = redis::cmd("XINFO")
            .arg("GROUPS")
            .arg(self.key("messages"))
            .query_async(&mut self.redis().await)
            .await;
        let name = redis::Value::BulkString(b"persist".to_vec());
        let group =
            groups.unwrap_or_default().into_iter().find(|one| one.get("name") == Some(&name));
        let number = |name: &str| match group.as_ref().and_then(|group| group.get(name)) {
            Some(redis::Value::Int(number)) => *number,
            _ => 0,
        };
        number("pending") + number("lag")
    }

    /// Waits until every message accepted in this epoch is stored or dead-lettered and nothing is
    /// in flight.
    ///
    /// # Panics
    /// If that takes longer than `within`.
    pub async fn wait_until_processed(&self, within: Duration) -> LedgerSums {
        eventually(within, "every accepted message is stored or dead-lettered", async || {
            let sums = self.ledger_sums().await;
            let is_processed =
                sums.accepted == sums.stored + sums.dead_lettered && sums.in_flight == 0;
            if is_processed { Ok(sums) } else { Err(sums) }
        })
        .await
    }

    /// Returns the IDs of all stored messages.
    ///
    /// # Panics
    /// If Postgres is unavailable.
    pub async fn stored_ids(&self) -> HashSet<String> {
        let rows = self.postgres().await.query("SELECT id::text FROM messages", &[]).await;
        rows.expect("Postgres responds").iter().map(|row| row.get(0)).collect()
    }

    /// Returns the names, without the prefix, of all keys that have no TTL.
    ///
    /// # Panics
    /// If Redis is unavailable.
    pub async fn keys_without_ttl(&self) -> BTreeSet<String> {
        let names: Vec<String> = self.keys().await.into_iter().collect();
        let mut pipe = redis::pipe();
        for name in &names {
            pipe.pttl(self.key(name));
        }
        let mut redis = self.redis().await;
        let ttls: Vec<i64> = pipe.query_async(&mut redis).await.expect("Redis responds");
        let all = names.into_iter().zip(ttls);
        all.filter(|(_, ttl)| *ttl == -1).map(|(name, _)| name).collect()
    }

    /// Runs `mayfly audit --wait 60s`. Returns whether the audit passed, and the output.
    ///
    /// # Panics
    /// If the command does not start.
    pub async fn audit(&self) -> (bool, String) {
        self.audit_with(&[]).await
    }

    /// Runs `mayfly audit --wait 60s` with further options. Returns whether the audit passed, and
    /// the output.
    ///
    /// # Panics
    /// If the command does not start.
    pub async fn audit_with(&self, options: &[&str]) -> (bool, String) {
        self.audit_within("60s", options).await
    }

    /// Runs `mayfly audit --wait` for this time with further options.
    ///
    /// # Panics
    /// If the command does not start.
    pub async fn audit_within(&self, wait: &str, options: &[&str]) -> (bool, String) {
        let env = self.stack.env();
        let output = tokio::process::Command::new(bin_dir().join("mayfly"))
            .args(["audit", "--wait", wait])
            .args(options)
            .env("REDIS_URL", env.redis_url())
            .env("DATABASE_URL", env.database_url())
            .env("MAYFLY_REDIS__PREFIX", &self.prefix)
            .output()
            .await
            .expect("the command starts");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// Returns the process IDs of all services; unchanged IDs prove that none was restarted.
    #[must_use]
    pub fn service_pids(&self) -> Vec<u32> {
        let env = self.stack.env();
        Service::ALL.into_iter().flat_map(|service| env.pids(service)).collect()
    }

    /// Gets a path of the admin port of a service's first instance. Returns the status and body.
    ///
    /// # Panics
    /// If there is no response.
    pub async fn admin(&self, service: Service, path: &str) -> (u16, String) {
        let urls = self.stack.env().admin_urls(service);
        let url = format!("{}{path}", urls.first().expect("the service has an admin port"));
        let response = self.http.get(url).send().await.expect("the admin port responds");
        (response.status().as_u16(), response.text().await.expect("the response is complete"))
    }
}
