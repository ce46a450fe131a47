//! Tests of the hot store, and of the authentication of callers, on a real Redis.

mod access;
mod connection;
mod cost;
mod feeds;
mod lease;
mod messages;
mod plays;
mod queue;
mod snapshots;
mod trends;
mod visits;
mod write;

use std::time::Duration;

use mayfly_core::{Clock, EntryId, Host, SystemClock, Timestamp};
use mayfly_hot::{HotStore, Keys, Lease, Origin, Role};
use mayfly_runtime::settings::Settings;
use mayfly_stack::SharedRedis;
use redis::{FromRedisValue, aio::MultiplexedConnection};
use uuid::Uuid;

/// A time to live that outlasts every test.
const LONG: Duration = Duration::from_secs(3_600);
/// The job whose lease the tests acquire.
const JOB: &str = "test";

/// A store with its own keys on the Redis that all tests share, and direct access to that Redis.
struct TestStore {
    hot: HotStore,
    settings: Settings,
    connection: MultiplexedConnection,
}

impl TestStore {
    /// Creates an empty store with the default settings.
    async fn create() -> Self {
        Self::create_with(&[]).await
    }

    /// Creates an empty store with additional settings, given as environment variables.
    async fn create_with(env: &[(&str, &str)]) -> Self {
        let prefix = format!("t{}", Uuid::now_v7().simple());
        let url = SharedRedis::get().await.expect("Redis starts").url();
        Self::connect(url, &prefix, env).await
    }

    async fn connect(url: &str, prefix: &str, env: &[(&str, &str)]) -> Self {
        let client = redis::Client::open(url).expect("a valid URL");
        let connection = client.get_multiplexed_async_connection().await.expect("Redis responds");
        let settings = Self::create_settings(url, prefix, env);
        let hot = HotStore::new(&settings.redis).expect("a valid URL");
        Self { hot, settings, connection }
    }

    /// Creates a store that may be unable to connect.
    fn create_store(url: &str, prefix: &str, env: &[(&str, &str)]) -> HotStore {
        HotStore::new(&Self::create_settings(url, prefix, env).redis).expect("a valid URL")
    }

    fn create_settings(url: &str, prefix: &str, env: &[(&str, &str)]) -> Settings {
        let own = [
            ("MAYFLY_REDIS__URL", url),
            ("MAYFLY_REDIS__PREFIX", prefix),
            // A busy machine must not fail a test.
            ("MAYFLY_REDIS__TIMEOUT", "20s"),
            ("MAYFLY_REDIS__QUEUE_TIMEOUT", "10s"),
        ];
        let env = own.iter().chain(env).map(|(name, value)| ((*name).into(), (*value).into()));
        Settings::from_layers(None, env).expect("valid settings")
    }

    /// Returns a store with the same keys and a Redis user with additional ACL rules.
    async fn restrict(&self, rules: &[&str]) -> Self {
        let prefix = &self.settings.redis.prefix;
        let base = ["ACL", "SETUSER", prefix, "on", "nopass", "~*", "+@all", "allchannels"];
        self.query::<()>(&[&base, rules].concat()).await;
        let url = SharedRedis::get().await.expect("Redis starts").url();
        let url = url.replace("redis://", &format!("redis://{prefix}:any@"));
        Self::connect(&url, prefix, &[]).await
    }

    fn keys(&self) -> &Keys {
        self.hot.keys()
    }

    /// Sends a command, given as words, and returns the reply.
    async fn query<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let (command, arguments) = words.split_first().expect("a command");
        let mut command = redis::cmd(command);
        command.arg(arguments);
        command.query_async(&mut self.connection.clone()).await.expect("a valid command")
    }

    /// Overwrites a key with a list, as another program might. Mayfly has no lists.
    async fn overwrite(&self, key: &str) {
        self.query::<()>(&["DEL", key]).await;
        self.query::<()>(&["RPUSH", key, "x"]).await;
    }

    /// Returns a field of the ledger.
    async fn ledger(&self, field: &str) -> Option<String> {
        self.query(&["HGET", &self.keys().ledger(), field]).await
    }

    /// Returns the remaining time to live of a key.
    async fn ttl(&self, key: &str) -> Duration {
        let millis: i64 = self.query(&["PTTL", key]).await;
        Duration::from_millis(u64::try_from(millis).expect("the key has a time to live"))
    }

    /// Returns whether a key exists.
    async fn has_key(&self, key: &str) -> bool {
        self.query(&["EXISTS", key]).await
    }

    /// Returns the current time by the clock of Redis.
    async fn now(&self) -> Timestamp {
        let (seconds, micros): (i64, i64) = self.query(&["TIME"]).await;
        Timestamp::from_millis(seconds * 1_000 + micros / 1_000)
    }

    /// Returns a candidate for the lease of [`JOB`].
    fn candidate(&self) -> Lease {
        Lease::new(&self.hot, JOB, LONG)
    }

    /// Acquires the lease of [`JOB`].
    async fn lead(&self) -> Lease {
        let mut lease = self.candidate();
        assert_eq!(lease.acquire_or_renew().await.expect("Redis responds"), Role::Leader);
        lease
    }

    /// Lets another process acquire the lease of [`JOB`] without notifying the current holder.
    async fn replace_leader(&self) -> Lease {
        self.query::<()>(&["DEL", &self.keys().lease(JOB)]).await;
        self.lead().await
    }

    /// Runs `action` and asserts that it returns the current time by the clock of Redis.
    async fn assert_now<T>(&self, action: impl Future<Output = (Timestamp, T)>) -> (Timestamp, T) {
        // Redis caches its time for about a millisecond.
        let slack = Duration::from_millis(2);
        let before = self.now().await.minus(slack);
        let (at, result) = action.await;
        let after = self.now().await.plus(slack);
        assert!((before..=after).contains(&at), "{before} {at} {after}");
        (at, result)
    }

    /// Waits until the next millisecond by the clock of Redis.
    async fn wait_a_millisecond(&self) {
        let at = self.now().await;
        while self.now().await == at {}
    }
}

/// Returns whether a remaining time to live indicates that the key was written a moment ago.
///
/// On a busy machine, the check may run up to 30 s late, but at most half of the time to live late.
/// A time to live that is too short by less than this delay is not detected.
fn is_fresh(remaining: Duration, ttl: Duration) -> bool {
    let delay_max = (ttl / 2).min(Duration::from_secs(30));
    remaining <= ttl && remaining > ttl.saturating_sub(delay_max)
}

fn now() -> Timestamp {
    SystemClock.now()
}

fn origin() -> Origin {
    Origin::new("request-1", "00-ab-cd-01")
}

fn entry_id(text: &str) -> EntryId {
    text.parse().expect("an entry ID")
}

fn host(name: &str) -> Host {
    Host::parse(name).expect("a host")
}
