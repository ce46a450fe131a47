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

/// The free memory from which the servers' data is kept there. The end-to-end tests need up to 4 GiB.
const MEMORY_BYTES_MIN: u64 = 8 << 30;

/// Deletes a directory when stdin is closed, which happens even if the process is killed. Servers
/// that are still stopping may write to it for a while.
const CLEANUP_SCRIPT: &str = r#"
cat >/dev/null
tries=0
while rm -rf "$0"; [ -e "$0" ] && [ $((tries += 1)) -lt 60 ]; do sleep 1; done
"#;

static ROOT: OnceCell<Root> = OnceCell::const_new();
static REDIS: OnceCell<SharedRedis> = OnceCell::const_new();
static SERVERS: OnceCell<SharedServers> = OnceCell::const_new();

/// The directory of this process for the data of its servers. It is deleted when the process exits.
#[derive(Debug)]
struct Root {
    path: PathBuf,
    /// Closed when the process exits, which starts the deletion.
    _cleanup: ChildStdin,
    /// Locked while this process lives, which marks the directory as in use.
    _lock: File,
}

/// One Redis for all tests of a process, started on first use, on a free port.
///
/// It stops when the process exits, and its data is deleted.
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
        let root = &ROOT.get_or_try_init(Root::create).await?.path;
        let stack = Stack::up(Spec::redis_only(root)).await?;
        let url = stack.env().redis_url().to_owned();
        Ok(Self { stack, url, root })
    }

    /// Returns the URL. Every test uses its own key prefix.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns a directory that lasts as long as this process.
    pub fn root(&self) -> &Path {
        self.root
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
        redis.stack.apply(Spec::servers_only(redis.root)).await?;
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

impl Root {
    /// Creates the directory, and deletes those of processes that have exited and whose cleanup was
    /// killed.
    async fn create() -> Result<Self, StackError> {
        let in_memory = parent_in(Path::new(MEMORY_DIR));
        let on_disk = parent_in(&std::env::temp_dir());
        for parent in [&in_memory, &on_disk] {
            if parent.exists() {
                delete_unused_roots(parent).await.map_err(StackError::io(parent))?;
            }
        }
        let parent = if has_free_memory() { in_memory } else { on_disk };
        Self::create_in(&parent).map_err(StackError::io(&parent))
    }

    fn create_in(parent: &Path) -> io::Result<Self> {
        create_accessible_dir(parent)?;
        let parent_lock = open_lock(parent)?;
        parent_lock.lock()?;
        let path = parent.join(std::process::id().to_string());
        create_accessible_dir(&path)?;
        let lock = open_lock(&path)?;
        lock.lock()?;
        let cleanup = delete_on_exit(&path)?;
        Ok(Self { path, _cleanup: cleanup, _lock: lock })
    }
}

/// Returns the directory for the data of all test processes.
fn parent_in(dir: &Path) -> PathBuf {
    dir.join(format!("mayfly-servers-{}", geteuid()))
}

/// Returns whether the data of the servers fits in memory. Each database has hundreds of files, and
/// ext4 takes long to create files after others were deleted.
#[cfg_attr(target_os = "linux", expect(clippy::useless_conversion, reason = "needed on macOS"))]
fn has_free_memory() -> bool {
    let has_space = statvfs(MEMORY_DIR).is_ok_and(|status| {
        u64::from(status.blocks_available()) * u64::from(status.fragment_size()) >= MEMORY_BYTES_MIN
    });
    has_space && read_available_memory().is_some_and(|bytes| bytes >= MEMORY_BYTES_MIN)
}

/// Returns the memory in bytes that is available without swapping, as Linux estimates it.
fn read_available_memory() -> Option<u64> {
    let memory = fs::read_to_string("/proc/meminfo").ok()?;
    let available = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    available.trim().strip_suffix("kB")?.trim().parse().ok().map(|kilobytes: u64| kilobytes * 1024)
}

/// Deletes a directory after this process has exited, however it exits. Returns the pipe that must
/// stay open until then.
fn delete_on_exit(dir: &Path) -> io::Result<ChildStdin> {
    let mut command = Command::new("sh");
    command.arg("-c").arg(CLEANUP_SCRIPT).arg(dir);
    // In its own process group, so that Ctrl-C does not stop it.
    command.current_dir("/").process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn()?.stdin.take().ok_or_else(|| io::ErrorKind::BrokenPipe.into())
}

/// Deletes the directories of processes that have exited. A lock serializes concurrent callers.
async fn delete_unused_roots(parent: &Path) -> io::Result<()> {
    let parent_lock = open_lock(parent)?;
    parent_lock.lock()?;
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
    Ok(())
}

/// Creates a directory that the Postgres account can traverse.
fn create_accessible_dir(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

fn open_lock(dir: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(dir.join("lock"))
}
