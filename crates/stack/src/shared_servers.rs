//! One Redis and one Postgres for all tests of a process.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use tokio::sync::OnceCell;

use crate::error::StackError;
use crate::server::postgres::create_database;
use crate::spec::Spec;
use crate::stack::Stack;
use crate::supervisor::reset::{reset, stop_orphans};

static SHARED: OnceCell<SharedServers> = OnceCell::const_new();

/// One Redis and one Postgres for all tests of a process, started on first use, on free ports.
///
/// They stop when the process exits. The next process that starts such servers deletes their data.
#[derive(Debug)]
pub struct SharedServers {
    stack: Stack,
    redis_url: String,
    database_url: String,
    root: PathBuf,
    /// Locked while this process lives, which marks the directory as in use.
    _lock: File,
}

impl SharedServers {
    /// Returns the servers of this process, and starts them on the first call.
    pub async fn get() -> Result<&'static Self, StackError> {
        SHARED.get_or_try_init(Self::start).await
    }

    async fn start() -> Result<Self, StackError> {
        let parent = std::env::temp_dir().join(format!("mayfly-servers-{}", geteuid()));
        let (root, lock) = create_root(&parent).await.map_err(StackError::io(&parent))?;
        let stack = Stack::up(Spec::servers_only(&root)).await?;
        let env = stack.env();
        let (redis_url, database_url) = (env.redis_url().to_owned(), env.database_url().to_owned());
        Ok(Self { stack, redis_url, database_url, root, _lock: lock })
    }

    /// Returns the Redis URL. Every test uses its own key prefix.
    pub fn redis_url(&self) -> &str {
        &self.redis_url
    }

    /// Returns the URL of the initial database. A test that writes creates its own database.
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// Returns a directory that lasts as long as this process. The next process deletes it.
    pub fn root(&self) -> &Path {
        &self.root
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

    /// Creates a copy of a database without connections and returns its URL.
    pub async fn copy_database(&self, name: &str, template: &str) -> Result<String, StackError> {
        create_database(&self.database_url, name, Some(template)).await?;
        Ok(self.url_for_database(name))
    }

    /// Returns the stack of both servers, for a test that stops one and has exclusive use of it.
    pub fn stack(&self) -> &Stack {
        &self.stack
    }
}

/// Creates a directory for this process and deletes those of processes that have exited. A lock
/// serializes concurrent callers.
async fn create_root(parent: &Path) -> io::Result<(PathBuf, File)> {
    create_accessible_dir(parent)?;
    let parent_lock = open_lock(parent)?;
    parent_lock.lock()?;
    delete_unused_roots(parent).await;
    let root = parent.join(std::process::id().to_string());
    create_accessible_dir(&root)?;
    let lock = open_lock(&root)?;
    lock.lock()?;
    Ok((root, lock))
}

async fn delete_unused_roots(parent: &Path) {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path());
    for root in entries.filter(|path| path.is_dir()) {
        let is_unused = open_lock(&root).and_then(|lock| Ok(lock.try_lock()?)).is_ok();
        if !is_unused {
            continue;
        }
        stop_orphans(&root).await;
        if reset(&root).is_ok() {
            let _kept = fs::remove_dir_all(&root);
        }
    }
}

/// Creates a directory that the Postgres account can traverse.
fn create_accessible_dir(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

fn open_lock(dir: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(dir.join("lock"))
}
