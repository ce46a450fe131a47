//! The configuration of a test stack.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    sync::Arc,
    time::Duration,
};

use mayfly_stack::{Service, SharedRedis, SharedServers, Spec, Stack, reserve_free_port};
use reqwest::Client;
use tempfile::TempDir;
use tokio::{process::Command, sync::OnceCell};
use uuid::Uuid;

use super::{World, bin_dir, log_dump::LogDump};
use crate::{ReverseProxy, run_mode::is_behind_reverse_proxy};

/// Store timeouts that are shorter than a request's deadline and longer than the delays of a
/// machine that runs other tests, so that a 503 means that something is broken.
const RELAXED_TIMEOUTS: [(&str, &str); 3] = [
    ("MAYFLY_REDIS__TIMEOUT", "5s"),
    ("MAYFLY_REDIS__QUEUE_TIMEOUT", "2500ms"),
    ("MAYFLY_POSTGRES__TIMEOUT", "5s"),
];

/// The migrated database that the databases of all stacks are copied from.
const TEMPLATE: &str = "migrated_template";

/// How long services wait for Redis and Postgres.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Timeouts {
    #[default]
    Relaxed,
    Default,
}

/// A builder for a [`World`].
#[derive(Debug, Clone, Default)]
pub struct Setup {
    scale: Vec<(Service, usize)>,
    env: Vec<(String, String)>,
    dedicated_servers: bool,
    timeouts: Timeouts,
    s3: bool,
    redis_acl: Option<String>,
    behind_reverse_proxy: bool,
}

impl Setup {
    /// Returns a setup with one `ingest-api`, `list-api` and `persist-worker` on the shared
    /// servers.
    #[must_use]
    pub fn new() -> Self {
        Self::default().scale(Service::WsFanout, 0).scale(Service::StatsPublisher, 0)
    }

    /// Sets the number of instances of a service.
    #[must_use]
    pub fn scale(mut self, service: Service, count: usize) -> Self {
        self.scale.push((service, count));
        self
    }

    /// Sets an environment variable of every service.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Uses a dedicated Redis and Postgres, for tests that stop or flush them.
    #[must_use]
    pub fn dedicated_servers(mut self) -> Self {
        self.dedicated_servers = true;
        self
    }

    /// Keeps the default timeouts of Redis and Postgres, for tests that measure how soon an outage
    /// is detected. Other tests use longer timeouts, because they share a busy machine.
    #[must_use]
    pub fn default_timeouts(mut self) -> Self {
        self.timeouts = Timeouts::Default;
        self
    }

    /// Starts an S3 server. Without it, `list-api` redirects to a statistics URL that serves
    /// nothing.
    #[must_use]
    pub fn with_s3(mut self) -> Self {
        self.s3 = true;
        self
    }

    /// Sends all requests to public ports through nginx with `deploy/nginx.conf`.
    #[must_use]
    pub fn behind_reverse_proxy(mut self) -> Self {
        self.behind_reverse_proxy = true;
        self
    }

    /// Connects the services to the shared Redis as a user with all commands and keys, no channels,
    /// and these ACL rules.
    #[must_use]
    pub fn redis_acl(mut self, rules: &str) -> Self {
        self.redis_acl = Some(rules.into());
        self
    }

    /// Starts the stack and returns when every service is ready. If the services require
    /// credentials, also waits until the credentials are loaded.
    ///
    /// # Panics
    /// If the stack does not start.
    pub async fn start(self) -> World {
        let name = format!("t{}", Uuid::now_v7().simple());
        let redis = SharedRedis::get().await.expect("the shared Redis starts");
        let root = create_root(redis, &name);
        let mut spec = Spec::for_tests(root.path(), bin_dir());
        spec.postgres_template = Some(redis.root().join("postgres-template"));
        spec.without_s3 = !self.s3;
        if !self.s3 {
            spec = spec.with_env("MAYFLY_STATS__PUBLIC_URL", "http://127.0.0.1:9/nothing");
        }
        spec.env.insert("MAYFLY_REDIS__PREFIX".into(), name.clone());
        if !self.dedicated_servers {
            let servers = SharedServers::get().await.expect("the shared servers start");
            let redis_url = servers.redis_url();
            spec.redis_url = Some(match &self.redis_acl {
                Some(rules) => create_redis_user(redis_url, &name, rules).await,
                None => redis_url.to_owned(),
            });
            spec.database_url = Some(create_migrated_database(servers, &name).await);
            spec.migrate = false;
        }
        for (service, count) in self.scale {
            spec = spec.with_scale(service, count);
        }
        if self.timeouts == Timeouts::Relaxed {
            for (name, value) in RELAXED_TIMEOUTS {
                spec = spec.with_env(name, value);
            }
        }
        let port = (self.behind_reverse_proxy || is_behind_reverse_proxy())
            .then(|| reserve_free_port().expect("a port is free"));
        if let Some(port) = &port {
            for name in ["INGEST", "LIST", "LIVE"] {
                let url = ReverseProxy::url_at(port);
                spec = spec.with_env(format!("MAYFLY_PUBLIC__{name}_URL"), url);
            }
        }
        for (name, value) in self.env {
            spec = spec.with_env(name, value);
        }
        let stack = Arc::new(Stack::up(spec.clone()).await.expect("the stack starts"));
        let log_dump = LogDump::new(root.path());
        let proxy = match port {
            Some(port) => {
                Some(Arc::new(ReverseProxy::start(&stack.env(), port, root.path()).await))
            }
            None => None,
        };
        let world = World {
            stack,
            spec,
            http: new_client(),
            prefix: name,
            proxy,
            _log_dump: log_dump,
            _root: Arc::new(root),
        };
        let requires_credentials =
            world.spec.env.get("MAYFLY_AUTH__MODE").is_some_and(|mode| mode == "keys");
        let has_worker = !world.stack.env().pids(Service::PersistWorker).is_empty();
        if requires_credentials && has_worker {
            world.wait_until_credentials_are_loaded().await;
        }
        world
    }

    /// Returns the stack stored in `cell`, for tests that do not disturb each other. The first
    /// caller starts the stack, which stops when the process exits.
    ///
    /// # Panics
    /// If the stack does not start.
    pub async fn share(self, cell: &'static OnceCell<World>) -> World {
        let world = cell.get_or_init(|| self.start());
        // A pooled connection is bound to the runtime of the test that opened it.
        World { http: new_client(), ..world.await.clone() }
    }
}

/// Creates the directory of a stack. Postgres runs as a separate user, who must be able to enter
/// the directory.
fn create_root(redis: &SharedRedis, name: &str) -> TempDir {
    let root = tempfile::Builder::new().prefix(name).tempdir_in(redis.root());
    let root = root.expect("the directory is created");
    fs::set_permissions(root.path(), Permissions::from_mode(0o755)).expect("the directory is ours");
    root
}

/// Creates a database with the schema and returns its URL. The database is a copy of [`TEMPLATE`],
/// because running the migrations for each stack would take longer.
async fn create_migrated_database(servers: &SharedServers, name: &str) -> String {
    static TEMPLATE_CREATED: OnceCell<()> = OnceCell::const_new();
    let create_template = async || {
        let url = servers.create_database(TEMPLATE).await.expect("the template is created");
        let mut migrate = Command::new(bin_dir().join("mayfly"));
        let migrated = migrate.arg("migrate").env("DATABASE_URL", url).output().await;
        let migrated = migrated.expect("mayfly is started");
        assert!(migrated.status.success(), "{migrated:?}");
    };
    TEMPLATE_CREATED.get_or_init(create_template).await;
    servers.copy_database(name, TEMPLATE).await.expect("the database is created")
}

/// Creates a Redis user and returns the URL with the credentials of this user.
async fn create_redis_user(redis_url: &str, name: &str, rules: &str) -> String {
    let client = redis::Client::open(redis_url).expect("a valid URL");
    let mut redis = client.get_multiplexed_async_connection().await.expect("Redis responds");
    let mut command = redis::cmd("ACL");
    command.arg("SETUSER").arg(name).arg(&["on", "nopass", "~*", "+@all", "resetchannels"]);
    command.arg(rules.split_whitespace().collect::<Vec<_>>());
    command.exec_async(&mut redis).await.expect("valid ACL rules");
    redis_url.replace("redis://", &format!("redis://{name}:any@"))
}

/// Creates a client that closes idle connections before the servers do. A process that resumes
/// after it was frozen closes them at any moment, also when a request arrives.
fn new_client() -> Client {
    let client = Client::builder().timeout(Duration::from_secs(30));
    let client = client.pool_idle_timeout(Duration::from_secs(1)).build();
    client.expect("the client is built")
}
