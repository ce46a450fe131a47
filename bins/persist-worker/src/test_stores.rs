//! The stores that the tests of this crate use.

use std::time::Duration;

use mayfly_cold::{ColdStore, migrations};
use mayfly_core::stream::PLAYS_V1;
use mayfly_hot::{Consumer, Delivery, HotStore, Stream};
use mayfly_runtime::Settings;
use mayfly_stack::{SharedRedis, SharedServers};
use redis::{AsyncConnectionConfig, FromRedisValue, aio::MultiplexedConnection};
use tokio::time::timeout;
use uuid::Uuid;

/// A timeout that a busy machine does not exceed.
pub const TIMEOUT: Duration = Duration::from_secs(20);
/// An idle time that no entry of a test reaches on its own.
const LONG_IDLE_MS: u64 = 3_600_000;

/// Returns the body of a play entry with one play.
pub fn plays(id: Uuid) -> String {
    let at = "2026-11-20T19:07:00.123Z";
    format!(r#"{{"id":"{id}","enqueued_at":"{at}","plays":[{{"video_id":"v"}}]}}"#)
}

/// A pending entry.
pub struct PendingEntry {
    entry_id: String,
    consumer: String,
    idle_ms: u64,
}

impl PendingEntry {
    /// Returns whether the idle time was set by [`TestStores::make_plays_idle`] and not reset.
    pub fn is_idle(&self) -> bool {
        self.idle_ms >= LONG_IDLE_MS
    }
}

/// A hot store with its own keys, a cold store, and direct access to Redis.
pub struct TestStores {
    pub settings: Settings,
    pub hot: HotStore,
    pub cold: ColdStore,
    redis: MultiplexedConnection,
}

impl TestStores {
    /// Creates empty stores. The cold store uses a new database with the schema.
    pub async fn create(database: &str) -> Self {
        let servers = SharedServers::get().await.expect("the servers start");
        let url = servers.create_database(database).await.expect("the database is created");
        let stores = Self::connect(&url).await;
        let url = &stores.settings.postgres.url;
        migrations::run(url, |_| {}).await.expect("the migrations succeed");
        stores
    }

    /// Creates an empty hot store, and a cold store whose server is unavailable.
    pub async fn without_postgres() -> Self {
        Self::connect("postgres://127.0.0.1:1/none").await
    }

    async fn connect(postgres_url: &str) -> Self {
        let redis_url = SharedRedis::get().await.expect("Redis starts").url();
        let prefix = format!("t{}", Uuid::now_v7().simple());
        let env = [
            ("MAYFLY_REDIS__URL", redis_url),
            ("MAYFLY_REDIS__PREFIX", &prefix),
            ("MAYFLY_REDIS__TIMEOUT", "20s"),
            ("MAYFLY_POSTGRES__URL", postgres_url),
            ("MAYFLY_POSTGRES__TIMEOUT", "20s"),
        ];
        let env = env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = Settings::from_layers(None, env).expect("valid settings");
        let client = redis::Client::open(redis_url).expect("a valid URL");
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(TIMEOUT));
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        Self {
            hot: HotStore::new(&settings.redis).expect("a valid URL"),
            cold: ColdStore::with_statement_timeout(&settings.postgres, TIMEOUT),
            redis: connecting.await.expect("Redis responds"),
            settings,
        }
    }

    /// Sends a command to Redis, given as words, and returns the reply.
    pub async fn query<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let (command, arguments) = words.split_first().expect("a command");
        let mut command = redis::cmd(command);
        command.arg(arguments);
        command.query_async(&mut self.redis.clone()).await.expect("a valid command")
    }

    /// Appends a play entry.
    pub async fn append_plays(&self, body: &str) {
        let stream = self.hot.keys().stream(Stream::Plays);
        self.query::<()>(&["XADD", &stream, "*", PLAYS_V1, body]).await;
    }

    /// Appends play entries and delivers them to a consumer.
    pub async fn deliver_plays(&self, consumer: &str, bodies: &[&str]) -> Vec<Delivery> {
        self.hot.queue().create_group(Stream::Plays).await.expect("Redis responds");
        for body in bodies {
            self.append_plays(body).await;
        }
        let mut reader = Consumer::new(self.hot.clone(), Stream::Plays, consumer.to_owned());
        let read = reader.read_batch(bodies.len(), Duration::ZERO).await.expect("Redis responds");
        assert_eq!(read.deliveries.len(), bodies.len());
        read.deliveries
    }

    /// Sets the idle time of all pending play entries to [`LONG_IDLE_MS`].
    pub async fn make_plays_idle(&self) {
        let (stream, group) = (self.hot.keys().stream(Stream::Plays), Stream::Plays.group());
        let idle = LONG_IDLE_MS.to_string();
        for PendingEntry { entry_id, consumer, .. } in self.list_pending().await {
            let claim = ["XCLAIM", &stream, group, &consumer, "0", &entry_id];
            let options = ["IDLE", &idle, "JUSTID"];
            self.query::<()>(&[&claim[..], &options[..]].concat()).await;
        }
    }

    /// Waits until a condition holds for the pending play entries.
    pub async fn wait_for_pending(
        &self,
        expected: &str,
        condition: impl Fn(&[PendingEntry]) -> bool,
    ) {
        let waiting = async {
            while !condition(&self.list_pending().await) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(TIMEOUT, waiting).await.expect(expected);
    }

    async fn list_pending(&self) -> Vec<PendingEntry> {
        let stream = self.hot.keys().stream(Stream::Plays);
        let list = ["XPENDING", &stream, Stream::Plays.group(), "-", "+", "10"];
        let rows: Vec<(String, String, u64, u64)> = self.query(&list).await;
        let rows = rows.into_iter();
        rows.map(|(entry_id, consumer, idle_ms, _)| PendingEntry { entry_id, consumer, idle_ms })
            .collect()
    }
}
