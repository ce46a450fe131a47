//! What both stores say of a Mayfly, asked past the services.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use mayfly_stack::Service;
use redis::AsyncCommands;

use crate::{World, bin_dir, eventually};

/// The keys that stay in Redis for ever where messages are all that there was.
pub const LASTING: [&str; 6] =
    ["consumption:messages", "epoch", "keys:version", "ledger", "messages", "plays"];

/// The sum of the present epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    /// The name of the epoch in Redis.
    pub epoch: String,
    /// Messages accepted, as Redis counts them.
    pub accepted: i64,
    /// Messages stored, as Postgres counts them.
    pub stored: i64,
    /// Messages among the dead letters.
    pub dead_lettered: i64,
    /// Entries that a worker has, or that none has yet, and references of messages not stored.
    pub under_way: i64,
}

impl World {
    /// The sum of the present epoch, as one look at both stores shows it.
    ///
    /// # Panics
    /// When a store does not answer.
    pub async fn sum(&self) -> Sum {
        let mut redis = self.redis().await;
        let epoch: Option<String> = redis.get(self.key("epoch")).await.expect("there is an epoch");
        let epoch = epoch.unwrap_or_default();
        let accepted: Option<i64> =
            redis.hget(self.key("ledger"), "messages.accepted").await.expect("Redis answers");
        let waiting: i64 = redis.hlen(self.key("waiting")).await.expect("Redis answers");
        let row = self.postgres().await;
        let row = row
            .query_opt(
                "SELECT stored, dead_lettered FROM ledger WHERE epoch = $1 AND kind = 'messages'",
                &[&epoch],
            )
            .await
            .expect("Postgres answers");
        let (stored, dead_lettered) = row.map_or((0, 0), |row| (row.get(0), row.get(1)));
        let under_way = waiting + self.queued().await;
        Sum { epoch, accepted: accepted.unwrap_or(0), stored, dead_lettered, under_way }
    }

    /// Entries that a worker has, or that none has yet.
    async fn queued(&self) -> i64 {
        let groups: Result<Vec<HashMap<String, redis::Value>>, _> = redis::cmd("XINFO")
            .arg("GROUPS")
            .arg(self.key("messages"))
            .query_async(&mut self.redis().await)
            .await;
        let groups = groups.unwrap_or_default();
        let number = |name: &str| match groups.first().and_then(|group| group.get(name)) {
            Some(redis::Value::Int(number)) => *number,
            _ => 0,
        };
        number("pending") + number("lag")
    }

    /// Waits until everything accepted in this epoch has its outcome and nothing is under way;
    /// fails if it does not add up in time.
    pub async fn settle(&self, within: Duration) -> Sum {
        eventually(within, "everything accepted is stored and acknowledged", async || {
            let sum = self.sum().await;
            let settled = sum.accepted == sum.stored + sum.dead_lettered && sum.under_way == 0;
            if settled { Ok(sum) } else { Err(sum) }
        })
        .await
    }

    /// The ids of all stored messages.
    ///
    /// # Panics
    /// When Postgres does not answer.
    pub async fn stored_ids(&self) -> HashSet<String> {
        let rows = self.postgres().await.query("SELECT id::text FROM messages", &[]).await;
        rows.expect("Postgres answers").iter().map(|row| row.get(0)).collect()
    }

    /// The names of all keys that would stay for ever, without the prefix.
    ///
    /// # Panics
    /// When Redis does not answer.
    pub async fn keys_without_ttl(&self) -> BTreeSet<String> {
        let names: Vec<String> = self.keys().await.into_iter().collect();
        let mut pipe = redis::pipe();
        for name in &names {
            pipe.pttl(self.key(name));
        }
        let mut redis = self.redis().await;
        let left: Vec<i64> = pipe.query_async(&mut redis).await.expect("Redis answers");
        let all = names.into_iter().zip(left);
        all.filter(|(_, left)| *left == -1).map(|(name, _)| name).collect()
    }

    /// What `mayfly audit --wait 60s` prints, and whether it says that all adds up.
    ///
    /// # Panics
    /// When it cannot be run.
    pub async fn audit(&self) -> (bool, String) {
        let env = self.stack.env();
        let done = tokio::process::Command::new(bin_dir().join("mayfly"))
            .args(["audit", "--wait", "60s"])
            .env("REDIS_URL", env.redis_url())
            .env("DATABASE_URL", env.database_url())
            .env("MAYFLY_REDIS__PREFIX", &self.prefix)
            .output()
            .await
            .expect("the command runs");
        let words = [done.stdout, done.stderr].concat();
        (done.status.success(), String::from_utf8_lossy(&words).into_owned())
    }

    /// The process ids of all services: the same afterwards, none of them was restarted.
    #[must_use]
    pub fn service_pids(&self) -> Vec<u32> {
        let env = self.stack.env();
        Service::ALL.into_iter().flat_map(|service| env.pids(service)).collect()
    }

    /// Asks the admin port of a service's first instance: status and body.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn admin(&self, service: Service, path: &str) -> (u16, String) {
        let urls = self.stack.env().admin_urls(service);
        let url = format!("{}{path}", urls.first().expect("the service has an admin port"));
        let answer = self.http.get(url).send().await.expect("the admin port answers");
        (answer.status().as_u16(), answer.text().await.expect("the answer ends"))
    }
}
