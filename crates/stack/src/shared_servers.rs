//! One Redis and one Postgres for all tests of a process.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use tokio::sync::OnceCell;

use crate::error::StackError;
use crate::reset::{end_leftovers, reset};
use crate::server::postgres::create_database;
use crate::spec::Spec;
use crate::stack::Stack;

static SHARED: OnceCell<SharedServers> = OnceCell::const_new();

/// One Redis and one Postgres for all tests of a process, made when first asked for, on free ports.
///
/// They end with the process. What they wrote is deleted by the next process that makes some.
#[derive(Debug)]
pub struct SharedServers {
    stack: Stack,
    redis_url: String,
    database_url: String,
    root: PathBuf,
    /// Locked as long as this process lives: the directory is in use.
    _lock: File,
}

impl SharedServers {
    /// Returns the servers of this process, starting them the first time.
    pub async fn get() -> Result<&'static Self, StackError> {
        SHARED.get_or_try_init(Self::start).await
    }

    async fn start() -> Result<Self, StackError> {
        let home = std::env::temp_dir().join(format!("mayfly-servers-{}", geteuid()));
        let (root, lock) = take_root(&home).await.map_err(StackError::io(&home))?;
        let stack = Stack::up(Spec::servers_only(&root)).await?;
        let env = stack.env();
        let (redis_url, database_url) = (env.redis_url().to_owned(), env.database_url().to_owned());
        Ok(Self { stack, redis_url, database_url, root, _lock: lock })
    }

    /// Where Redis is. Every test uses a prefix of its own.
    pub fn redis_url(&self) -> &str {
        &self.redis_url
    }

    /// Where the first database is. A test that writes makes one of its own.
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// A directory for what else lasts as long as this process; the next process deletes it.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The address of a database of this name, which may not be there yet.
    pub fn url_of(&self, database: &str) -> String {
        let server = self.database_url.rsplit_once('/').map_or("", |(server, _)| server);
        format!("{server}/{database}")
    }

    /// Makes a database and returns its address.
    pub async fn create_database(&self, name: &str) -> Result<String, StackError> {
        create_database(&self.database_url, name, None).await?;
        Ok(self.url_of(name))
    }

    /// Makes a database as a copy of another, to which nobody may be connected, and returns its address.
    pub async fn copy_database(&self, name: &str, template: &str) -> Result<String, StackError> {
        create_database(&self.database_url, name, Some(template)).await?;
        Ok(self.url_of(name))
    }

    /// The stack of these two, for a test that stops one and has it to itself.
    pub fn stack(&self) -> &Stack {
        &self.stack
    }
}

/// Makes a directory for this process, and deletes those of processes that are gone; one process at a time.
async fn take_root(home: &Path) -> io::Result<(PathBuf, File)> {
    make_dir(home)?;
    let turn = open_lock(home)?;
    turn.lock()?;
    sweep(home).await;
    let root = home.join(std::process::id().to_string());
    make_dir(&root)?;
    let lock = open_lock(&root)?;
    lock.lock()?;
    Ok((root, lock))
}

async fn sweep(home: &Path) {
    let entries = fs::read_dir(home).into_iter().flatten().flatten().map(|entry| entry.path());
    for root in entries.filter(|path| path.is_dir()) {
        let is_left = open_lock(&root).and_then(|lock| Ok(lock.try_lock()?)).is_ok();
        if !is_left {
            continue;
        }
        end_leftovers(&root).await;
        if reset(&root).is_ok() {
            let _kept = fs::remove_dir_all(&root);
        }
    }
}

/// Postgres' user has to get through.
fn make_dir(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

fn open_lock(dir: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(dir.join("lock"))
}
