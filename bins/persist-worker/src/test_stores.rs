//! The stores that the tests of this crate use.

use std::time::Duration;

use mayfly_cold::{ColdStore, migrations};
use mayfly_core::stream::PLAYS_V1;
use mayfly_hot::{Consumer, Delivery, HotStore, Stream};
use mayfly_runtime::Settings;
use mayfly_stack::{SharedRedis, SharedServers};
use redis::{AsyncConnectionConfig, FromRedisValue, aio::MultiplexedConnection};
use uuid::Uuid;

/// A timeout that a busy machine does not exceed.
pub const TIMEOUT: Duration = Duration::from_secs(20);
/// An idle time that no entry of a test reaches on its own.
pub const LONG_IDLE_MS: u64 = 3_600_000;

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

    /// Appends play entries, delivers them to a consumer, and sets their idle time to
    /// [`LONG_IDLE_MS`].
    pub async fn deliver_plays(&self, consumer: &str, bodies: &[&str]) -> Vec<Delivery> {
        let plays = Stream::Plays;
        let (stream, group) = (self.hot.keys().stream(plays), plays.group());
        self.hot.queue().create_group(plays).await.expect("Redis responds");
        for body in bodies {
            self.query::<()>(&["XADD", &stream, "*", PLAYS_V1, body]).await;
        }
        let mut reader = Consumer::new(self.hot.clone(), plays, consumer.to_owned());
        let read = reader.read_batch(bodies.len(), Duration::ZERO).await.expect("Redis responds");
        assert_eq!(read.deliveries.len(), bodies.len());
        let idle = LONG_IDLE_MS.to_string();
        for Delivery { entry_id, .. } in &read.deliveries {
            let claim = ["XCLAIM", &stream, group, consumer, "0", entry_id, "IDLE", &idle];
            self.query::<()>(&claim).await;
        }
        read.deliveries
    }
}
