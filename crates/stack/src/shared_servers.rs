//! One Redis, and one Postgres if needed, for all tests of a process.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};

use nix::sys::statvfs::statvfs;
use nix::unistd::geteuid;
use tokio::sync::OnceCell;

use crate::error::StackError;
use crate::server::postgres::create_database;
use crate::spec::Spec;
use crate::stack::Stack;
use crate::supervisor::reset::{reset, stop_orphans};

/// The file system in memory of Linux.
const MEMORY_DIR: &str = "/dev/shm";

/// The free space from which the servers' data is kept in memory. Linux offers half of its memory;
/// the end-to-end tests need up to 4 GiB.
const MEMORY_BYTES_MIN: u64 = 8 << 30;

/// Deletes a directory when stdin is closed, which happens even if the process is killed. Servers
/// that are still stopping may write to it.
const CLEANUP_SCRIPT: &str = r#"
cat >/dev/null
while rm -rf "$0"; sleep 1; [ -e "$0" ]; do :; done
"#;

static REDIS: OnceCell<SharedRedis> = OnceCell::const_new();
static SERVERS: OnceCell<SharedServers> = OnceCell::const_new();

/// One Redis for all tests of a process, started on first use, on a free port.
///
/// It stops when the process exits, and its data is deleted.
#[derive(Debug)]
pub struct SharedRedis {
    stack: Stack,
    url: String,
    root: PathBuf,
    /// Closed when the process exits, which starts the deletion of `root`.
    _cleanup: ChildStdin,
    /// Locked while this process lives, which marks the directory as in use.
    _lock: File,
}

impl SharedRedis {
    /// Returns the Redis of this process, and starts it on the first call.
    pub async fn get() -> Result<&'static Self, StackError> {
        REDIS.get_or_try_init(Self::start).await
    }

    async fn start() -> Result<Self, StackError> {
        let parent = choose_parent();
        let (root, lock) = create_root(&parent).await.map_err(StackError::io(&parent))?;
        let cleanup = delete_on_exit(&root).map_err(StackError::io(&root))?;
        let stack = Stack::up(Spec::redis_only(&root)).await?;
        let url = stack.env().redis_url().to_owned();
        Ok(Self { stack, url, root, _cleanup: cleanup, _lock: lock })
    }

    /// Returns the URL. Every test uses its own key prefix.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns a directory that lasts as long as this process.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// The shared Redis and one Postgres for all tests of a process, started on first use.
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
        redis.stack.apply(Spec::servers_only(&redis.root)).await?;
        let database_url = redis.stack.env().database_url().to_owned();
        Ok(Self { redis, database_url })
    }

    /// Returns the Redis URL. Every test uses its own key prefix.
    pub fn redis_url(&self) -> &str {
        &self.redis.url
    }

    /// Returns the URL of the initial database. A test that writes creates its own database.
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

    /// Creates a copy of a database without connections and returns its URL.
    pub async fn copy_database(&self, name: &str, template: &str) -> Result<String, StackError> {
        create_database(&self.database_url, name, Some(template)).await?;
        Ok(self.url_for_database(name))
    }

    /// Returns the stack of both servers, for a test that stops one and has exclusive use of it.
    pub fn stack(&self) -> &Stack {
        &self.redis.stack
    }
}

/// Returns the directory for the data of all such servers: in memory if there is enough, because
/// each database has hundreds of files, and ext4 takes long to create files after others were
/// deleted.
#[cfg_attr(target_os = "linux", expect(clippy::useless_conversion, reason = "needed on macOS"))]
fn choose_parent() -> PathBuf {
    let has_memory = statvfs(MEMORY_DIR).is_ok_and(|status| {
        u64::from(status.blocks_available()) * u64::from(status.fragment_size()) >= MEMORY_BYTES_MIN
    });
    let dir = if has_memory { PathBuf::from(MEMORY_DIR) } else { std::env::temp_dir() };
    dir.join(format!("mayfly-servers-{}", geteuid()))
}

/// Deletes a directory after this process has exited, however it exits. Returns the pipe that must
/// stay open until then.
fn delete_on_exit(dir: &Path) -> io::Result<ChildStdin> {
    let mut command = Command::new("sh");
    command.arg("-c").arg(CLEANUP_SCRIPT).arg(dir);
    // In its own process group, so that Ctrl-C does not stop it.
    command.current_dir("/").process_group(0);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    child.stdin.take().ok_or_else(|| io::ErrorKind::BrokenPipe.into())
}

/// Creates a directory for this process and deletes those of processes that have exited and whose
/// cleanup was killed. A lock serializes concurrent callers.
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
