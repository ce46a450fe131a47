//! One Redis, and one Postgres if needed, that all tests in a process share.

mod root;

use std::path::Path;

use tokio::sync::OnceCell;

use self::root::Root;
use crate::error::StackError;
use crate::server::postgres::create_database;
use crate::spec::Spec;
use crate::stack::Stack;

static ROOT: OnceCell<Root> = OnceCell::const_new();
static REDIS: OnceCell<SharedRedis> = OnceCell::const_new();
static SERVERS: OnceCell<SharedServers> = OnceCell::const_new();

/// One Redis for all tests in a process, started on first use, on a free port.
///
/// When the process exits, Redis stops and its data is deleted.
#[derive(Debug)]
pub struct SharedRedis {
    stack: Stack,
    url: String,
    root: &'static Path,
}

impl SharedRedis {
    /// Returns the Redis of this process, and starts it on the first call.
    pub async fn get() -> Result<&'static Self, StackError> {
        REDIS.get_or_try_init(Self::start).await
    }

    async fn start() -> Result<Self, StackError> {
        let root = ROOT.get_or_try_init(Root::create).await?.path();
        let stack = Stack::up(Spec::redis_only(root)).await?;
        let url = stack.env().redis_url().to_owned();
        Ok(Self { stack, url, root })
    }

    /// Returns the URL. Each test must use its own key prefix.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns a directory that exists for the lifetime of this process.
    pub fn root(&self) -> &Path {
        self.root
    }
}

/// The shared Redis and one Postgres for all tests in a process, started on first use.
#[derive(Debug)]
pub struct SharedServers {
    redis: &'static SharedRedis,
    database_url: String,
}

impl SharedServers {
    /// Returns the servers of this process, and starts them on the first call.
    pub async fn get() -> Result<&'static Self, StackError> {
        SERVERS.get_or_try_init(Self::start).await
    }

    async fn start() -> Result<Self, StackError> {
        let redis = SharedRedis::get().await?;
        redis.stack.apply(Spec::servers_only(redis.root)).await?;
        let database_url = redis.stack.env().database_url().to_owned();
        Ok(Self { redis, database_url })
    }

    /// Returns the Redis URL. Each test must use its own key prefix.
    pub fn redis_url(&self) -> &str {
        &self.redis.url
    }

    /// Returns the URL of the initial database. A test that writes must create its own database.
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// Returns the URL of a database, which need not exist yet.
    pub fn url_for_database(&self, database: &str) -> String {
        let server = self.database_url.rsplit_once('/').map_or("", |(server, _)| server);
        format!("{server}/{database}")
    }

    /// Creates a database and returns its URL.
    pub async fn create_database(&self, name: &str) -> Result<String, StackError> {
        create_database(&self.database_url, name, None).await?;
        Ok(self.url_for_database(name))
    }

    /// Copies a database that has no connections, and returns the URL of the copy.
    pub async fn copy_database(&self, name: &str, template: &str) -> Result<String, StackError> {
        create_database(&self.database_url, name, Some(template)).await?;
        Ok(self.url_for_database(name))
    }

    /// Returns the stack that runs both servers. Only a test that has exclusive use of a server may
    /// stop the server.
    pub fn stack(&self) -> &Stack {
        &self.redis.stack
    }
}
