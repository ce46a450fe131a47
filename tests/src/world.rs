//! One Mayfly for one test.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use mayfly_stack::{Service, SharedServers, Spec, Stack, claim_free};
use redis::{AsyncConnectionConfig, aio::MultiplexedConnection};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::{Entrance, last_words::LastWords, mode::is_through_entrance};

/// How long Redis may take to answer a test.
const REDIS_ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// How long services wait for Redis and Postgres: less than a request may take, and more than a machine
/// keeps them waiting that runs other tests as well. A 503 then says that something is broken.
const PATIENT: [(&str, &str); 2] =
    [("MAYFLY_REDIS__TIMEOUT", "5s"), ("MAYFLY_POSTGRES__TIMEOUT", "5s")];

/// How long services wait for Redis and Postgres.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Timeouts {
    #[default]
    Patient,
    BuiltIn,
}

/// What a test wants to be different.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    scale: Vec<(Service, usize)>,
    env: Vec<(String, String)>,
    own_servers: bool,
    timeouts: Timeouts,
    s3: bool,
    redis_rules: Option<String>,
    through_entrance: bool,
}

impl Setup {
    /// One of each service but those that nothing is asked of here, on shared servers.
    #[must_use]
    pub fn new() -> Self {
        Self::default().with(Service::WsFanout, 0).with(Service::StatsPublisher, 0)
    }

    /// So many of a service.
    #[must_use]
    pub fn with(mut self, service: Service, count: usize) -> Self {
        self.scale.push((service, count));
        self
    }

    /// A setting of every service.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// A Redis and a Postgres of its own, for a test that stops or empties them.
    #[must_use]
    pub fn own_servers(mut self) -> Self {
        self.own_servers = true;
        self
    }

    /// The built-in timeouts of Redis and Postgres, for a test that takes one of them away and sees by when
    /// that is noticed. All others are patient: they share a busy machine.
    #[must_use]
    pub fn built_in_timeouts(mut self) -> Self {
        self.timeouts = Timeouts::BuiltIn;
        self
    }

    /// An S3 server of its own. Without one, list-api leads to a public place of the statistics where
    /// there is nothing.
    #[must_use]
    pub fn with_s3(mut self) -> Self {
        self.s3 = true;
        self
    }

    /// Everything that a test asks of the public ports goes through nginx, as `deploy/nginx.conf` has it.
    #[must_use]
    pub fn through_entrance(mut self) -> Self {
        self.through_entrance = true;
        self
    }

    /// On the shared Redis, a user with these rules in addition to all rights to commands and keys
    /// and none to channels.
    #[must_use]
    pub fn redis_rules(mut self, rules: &str) -> Self {
        self.redis_rules = Some(rules.into());
        self
    }

    /// Starts it all; returns when every service is ready.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(self) -> World {
        self.start_in(tempfile::tempdir().expect("a directory can be made")).await
    }

    /// Gives the one Mayfly of this place, to several tests that do not disturb each other; starts
    /// it when the first of them asks. It ends with the process.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn share(self, place: &'static OnceCell<World>) -> World {
        let world = place.get_or_init(async || {
            let servers = SharedServers::get().await.expect("the shared servers start");
            let root = tempfile::tempdir_in(servers.root()).expect("a directory can be made");
            self.start_in(root).await
        });
        // A connection belongs to the test that opened it.
        World { http: new_client(), ..world.await.clone() }
    }

    async fn start_in(self, root: TempDir) -> World {
        let name = format!("t{}", Uuid::now_v7().simple());
        let mut spec = Spec::for_tests(root.path(), bin_dir());
        spec.without_s3 = !self.s3;
        if !self.s3 {
            spec = spec.with_env("MAYFLY_STATS__PUBLIC_URL", "http://127.0.0.1:9/nothing");
        }
        spec.env.insert("MAYFLY_REDIS__PREFIX".into(), name.clone());
        if !self.own_servers {
            let servers = SharedServers::get().await.expect("the shared servers start");
            let redis_url = servers.redis_url();
            spec.redis_url = Some(match &self.redis_rules {
                Some(rules) => make_redis_user(redis_url, &name, rules).await,
                None => redis_url.to_owned(),
            });
            let database = servers.create_database(&name).await;
            spec.database_url = Some(database.expect("a database can be made"));
        }
        for (service, count) in self.scale {
            spec = spec.with_scale(service, count);
        }
        if self.timeouts == Timeouts::Patient {
            for (name, value) in PATIENT {
                spec = spec.with_env(name, value);
            }
        }
        let port = (self.through_entrance || is_through_entrance())
            .then(|| claim_free().expect("a port is free"));
        if let Some(port) = &port {
            for name in ["INGEST", "LIST", "LIVE"] {
                spec = spec.with_env(format!("MAYFLY_PUBLIC__{name}_URL"), Entrance::url_of(port));
            }
        }
        for (name, value) in self.env {
            spec = spec.with_env(name, value);
        }
        let stack = Arc::new(Stack::up(spec.clone()).await.expect("the stack starts"));
        let last_words = LastWords::of(root.path());
        let entrance = match port {
            Some(port) => Some(Arc::new(Entrance::open(&stack.env(), port, root.path()).await)),
            None => None,
        };
        World {
            stack,
            spec,
            http: new_client(),
            prefix: name,
            entrance,
            _last_words: last_words,
            _root: Arc::new(root),
        }
    }
}

/// Makes a user of Redis; gives the address with its name.
async fn make_redis_user(redis_url: &str, name: &str, rules: &str) -> String {
    let client = redis::Client::open(redis_url).expect("it is an address");
    let mut redis = client.get_multiplexed_async_connection().await.expect("Redis answers");
    let mut command = redis::cmd("ACL");
    command.arg("SETUSER").arg(name).arg(&["on", "nopass", "~*", "+@all", "resetchannels"]);
    command.arg(rules.split_whitespace().collect::<Vec<_>>());
    command.exec_async(&mut redis).await.expect("Redis knows the rules");
    redis_url.replace("redis://", &format!("redis://{name}:any@"))
}

fn new_client() -> Client {
    let client = Client::builder().timeout(Duration::from_secs(30)).build();
    client.expect("a client can be made")
}

/// Where the binaries are: beside the directory of the test's own.
///
/// # Panics
/// When this program has no place.
#[must_use]
pub fn bin_dir() -> PathBuf {
    let test = std::env::current_exe().expect("a program has a place");
    let dir = test.ancestors().find(|dir| dir.join("persist-worker").is_file());
    dir.map(Path::to_path_buf).expect("the services are built: run `make test`")
}

/// A Mayfly that runs; its clones are the same one. It ends with the last of them.
#[derive(Clone)]
pub struct World {
    /// The processes.
    pub stack: Arc<Stack>,
    /// What it was started as.
    pub spec: Spec,
    /// A client that keeps connections alive.
    pub http: Client,
    /// The prefix of its keys in Redis.
    pub prefix: String,
    /// Where requests go to, if not to the services themselves.
    entrance: Option<Arc<Entrance>>,
    _last_words: LastWords,
    _root: Arc<TempDir>,
}

impl World {
    /// One of ingest-api, list-api and persist-worker with nothing set, for all tests that only
    /// need some Mayfly and have channels and usernames of their own.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn shared() -> Self {
        static PLAIN: OnceCell<World> = OnceCell::const_new();
        Setup::new().share(&PLAIN).await
    }

    /// A URL of the first instance of a service, or of the entrance to all.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn url(&self, service: Service, path: &str) -> String {
        format!("{}{path}", self.urls(service).first().expect("the service has an address"))
    }

    /// The URLs of all instances of a service, or that of the entrance to all.
    #[must_use]
    pub fn urls(&self, service: Service) -> Vec<String> {
        match &self.entrance {
            Some(entrance) => vec![entrance.url.clone()],
            None => self.stack.env().urls(service),
        }
    }

    /// A URL of ingest-api.
    #[must_use]
    pub fn ingest(&self, path: &str) -> String {
        self.url(Service::IngestApi, path)
    }

    /// A URL of list-api.
    #[must_use]
    pub fn list(&self, path: &str) -> String {
        self.url(Service::ListApi, path)
    }

    /// Posts JSON to ingest-api.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn post(&self, path: &str, body: &Value) -> Response {
        self.http.post(self.ingest(path)).json(body).send().await.expect("ingest-api answers")
    }

    /// Posts a message that must be accepted; gives it as it was answered.
    ///
    /// # Panics
    /// When it is not accepted.
    pub async fn post_message(&self, message: &Value) -> Value {
        let answer = self.post("/v1/messages", message).await;
        assert_eq!(answer.status(), 202, "{message}");
        answer.json().await.expect("the answer is JSON")
    }

    /// Gets a path of list-api: status and JSON (null where there is none).
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        read(self.http.get(self.list(path))).await
    }

    /// Takes an inbox: the items.
    ///
    /// # Panics
    /// When it cannot be taken.
    pub async fn take(&self, username: &str) -> Vec<Value> {
        let path = format!("/v1/users/{username}/messages/take");
        let (status, body) = read(self.http.post(self.list(&path))).await;
        assert_eq!(status, 200, "{body}");
        body["items"].as_array().cloned().expect("there are items")
    }

    /// Walks through everything that was ever stored, from the beginning.
    ///
    /// # Panics
    /// When a page cannot be had.
    pub async fn walk(&self, limit: usize) -> Vec<Value> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let (status, page) = self.get(&format!("/v1/messages?limit={limit}{cursor}")).await;
            assert_eq!(status, 200, "{page}");
            all.extend(page["items"].as_array().cloned().expect("there are items"));
            if page["has_more"] == false {
                return all;
            }
            cursor = format!("&cursor={}", page["next_cursor"].as_str().expect("there is a next"));
        }
    }

    /// A connection to the Redis of this Mayfly.
    ///
    /// # Panics
    /// When Redis cannot be reached.
    pub async fn redis(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.stack.env().redis_url()).expect("it is an address");
        // As long as it takes: tests read whole streams while others keep the machine busy.
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(REDIS_ANSWERS_WITHIN));
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        connecting.await.expect("Redis answers")
    }

    /// A key of this Mayfly in Redis.
    #[must_use]
    pub fn key(&self, name: &str) -> String {
        format!("{}:{{0}}:{name}", self.prefix)
    }

    /// A connection to the database of this Mayfly.
    ///
    /// # Panics
    /// When Postgres cannot be reached.
    pub async fn postgres(&self) -> tokio_postgres::Client {
        let env = self.stack.env();
        let (client, connection) =
            tokio_postgres::connect(env.database_url(), tokio_postgres::NoTls)
                .await
                .expect("Postgres answers");
        tokio::spawn(connection);
        client
    }

    /// The one number that a query gives.
    ///
    /// # Panics
    /// When the query fails.
    pub async fn count(&self, query: &str) -> i64 {
        self.postgres().await.query_one(query, &[]).await.expect("the query works").get(0)
    }
}

/// Sends a request: status and JSON (null where there is none).
async fn read(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.expect("the service answers");
    let status = answer.status().as_u16();
    let body = answer.bytes().await.expect("the answer ends");
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}
