//! Where the stack keeps its things.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::StackError;
use crate::instance::Instance;

/// Where a checkout's data lies when the user `postgres` cannot reach the checkout itself.
const ELSEWHERE: &str = "/var/lib/mayfly";

/// The files of one checkout's stack.
#[derive(Clone, Debug)]
pub struct Paths {
    root: PathBuf,
}

impl Paths {
    /// Names the files of the checkout at `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The checkout.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// All of it but, perhaps, Postgres' data.
    pub fn home(&self) -> PathBuf {
        self.root.join(".mayfly")
    }

    /// Addresses and process ids, for scripts.
    pub fn stack_env(&self) -> PathBuf {
        self.home().join("stack.env")
    }

    /// The logs, one file a process.
    pub fn logs(&self) -> PathBuf {
        self.home().join("logs")
    }

    /// The log of one process.
    pub fn log(&self, instance: Instance) -> PathBuf {
        self.logs().join(format!("{instance}.log"))
    }

    /// Held by the process that supervises this stack.
    pub fn lock(&self) -> PathBuf {
        self.home().join("supervisor.lock")
    }

    pub(crate) fn pids(&self) -> PathBuf {
        self.home().join("run")
    }

    pub(crate) fn pid(&self, instance: Instance) -> PathBuf {
        self.pids().join(format!("{instance}.pid"))
    }

    pub(crate) fn redis(&self) -> PathBuf {
        self.home().join("redis")
    }

    pub(crate) fn postgres(&self) -> PathBuf {
        self.home().join("postgres")
    }

    pub(crate) fn s3(&self) -> PathBuf {
        self.home().join("s3")
    }

    /// A directory outside the checkout that belongs to it alone; inside, `checkout` says to which.
    pub(crate) fn elsewhere(&self) -> PathBuf {
        Path::new(ELSEWHERE).join(format!("{:016x}", hash(self.root.as_os_str().as_bytes())))
    }

    /// Makes the directories that every stack has.
    pub(crate) fn create(&self) -> Result<(), StackError> {
        for path in [self.home(), self.logs(), self.pids()] {
            create_dir(&path, 0o755)?;
        }
        Ok(())
    }
}

/// FNV-1a: the same for ever, which the standard hasher does not promise, and data must be found again.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Makes a directory, with its parents, that has exactly this mode.
pub(crate) fn create_dir(path: &Path, mode: u32) -> Result<(), StackError> {
    fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(StackError::io(path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(StackError::io(path))
}
