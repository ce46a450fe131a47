//! The data directory for the servers of a test process.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};

use nix::sys::statvfs::statvfs;
use nix::unistd::geteuid;

use crate::error::StackError;
use crate::supervisor::reset::{reset, stop_orphans};

/// The in-memory file system of Linux.
const MEMORY_DIR: &str = "/dev/shm";

/// The minimum free memory, in bytes, for keeping the data of the servers in memory. The end-to-end
/// tests need up to 4 GiB.
const MEMORY_BYTES_MIN: u64 = 8 << 30;

/// A script that deletes a directory when its standard input is closed, which happens even if the
/// test process is killed. The script retries, because servers that are still stopping may write to
/// the directory.
const CLEANUP_SCRIPT: &str = r#"
cat >/dev/null
tries=0
while rm -rf "$0"; [ -e "$0" ] && [ $((tries += 1)) -lt 60 ]; do sleep 1; done
"#;

/// The data directory for the servers of this process. The directory is deleted when the process
/// exits.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    /// Closed when the process exits, which starts the deletion.
    _cleanup: ChildStdin,
    /// Locked for the lifetime of this process, which marks the directory as in use.
    _lock: File,
}

impl Root {
    /// Creates the directory. Also deletes the directories that exited processes left behind
    /// because their cleanup was killed.
    pub(super) async fn create() -> Result<Self, StackError> {
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

    /// Returns the path of the directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
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

/// Returns the directory in `dir` for the data of all test processes of this user.
fn parent_in(dir: &Path) -> PathBuf {
    dir.join(format!("mayfly-servers-{}", geteuid()))
}

/// Returns whether the data of the servers fits in memory. Memory is faster than a disk, because
/// each database has hundreds of files and ext4 creates files slowly after other files have been
/// deleted.
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

/// Starts a process that deletes a directory after this process has exited for any reason. Returns
/// the pipe that must stay open until then.
fn delete_on_exit(dir: &Path) -> io::Result<ChildStdin> {
    let mut command = Command::new("sh");
    command.arg("-c").arg(CLEANUP_SCRIPT).arg(dir);
    // The separate process group prevents Ctrl-C from stopping the cleanup.
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
