//! The file paths of a stack.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::StackError;
use crate::topology::instance::Instance;

/// The parent of the fallback data directories, which are used if the user `postgres` cannot access
/// a checkout.
const FALLBACK_PARENT: &str = "/var/lib/mayfly";

/// The file paths of the stack in one checkout.
#[derive(Clone, Debug)]
pub struct Paths {
    root: PathBuf,
}

impl Paths {
    /// Returns the paths for the checkout at `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Returns the root of the checkout.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns `.mayfly`, which contains all files of the stack except a Postgres data directory in
    /// the fallback directory.
    pub fn data_dir(&self) -> PathBuf {
        self.root.join(".mayfly")
    }

    /// Returns the path of `stack.env`.
    pub fn stack_env(&self) -> PathBuf {
        self.data_dir().join("stack.env")
    }

    /// Returns the directory of the logs.
    pub fn logs(&self) -> PathBuf {
        self.data_dir().join("logs")
    }

    /// Returns the log of one process.
    pub fn log(&self, instance: Instance) -> PathBuf {
        self.logs().join(format!("{instance}.log"))
    }

    /// Returns the lock file of the supervisor.
    pub fn lock(&self) -> PathBuf {
        self.data_dir().join("supervisor.lock")
    }

    /// Returns the file that exists while the data is being deleted.
    pub(crate) fn reset_marker(&self) -> PathBuf {
        self.data_dir().join("reset")
    }

    pub(crate) fn pid_files(&self) -> PathBuf {
        self.data_dir().join("run")
    }

    pub(crate) fn pid_file(&self, instance: Instance) -> PathBuf {
        self.pid_files().join(format!("{instance}.pid"))
    }

    pub(crate) fn redis(&self) -> PathBuf {
        self.data_dir().join("redis")
    }

    pub(crate) fn redis_config(&self) -> PathBuf {
        self.data_dir().join("redis.conf")
    }

    pub(crate) fn postgres(&self) -> PathBuf {
        self.data_dir().join("postgres")
    }

    pub(crate) fn s3(&self) -> PathBuf {
        self.data_dir().join("s3")
    }

    /// Returns the data directory outside the checkout. The directory belongs to this checkout
    /// alone, and its file `checkout` contains the path of the checkout.
    pub(crate) fn fallback_dir(&self) -> PathBuf {
        let hash = fnv1a(self.root.as_os_str().as_bytes());
        Path::new(FALLBACK_PARENT).join(format!("{hash:016x}"))
    }

    /// Creates the directories that every stack has.
    pub(crate) fn create(&self) -> Result<(), StackError> {
        for path in [self.data_dir(), self.logs(), self.pid_files()] {
            create_dir(&path, 0o755)?;
        }
        Ok(())
    }
}

/// Computes the FNV-1a hash. The standard hasher may change between releases of Rust, but later
/// builds must find the same directory.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Creates a directory and its parents, and sets its mode.
pub(crate) fn create_dir(path: &Path, mode: u32) -> Result<(), StackError> {
    fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(StackError::io(path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(StackError::io(path))
}
