//! The configuration of a process to start.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::process::{Probe, StopPolicy, set_parent_death_signal};

/// The environment variables that a process inherits from the supervisor.
const INHERITED: [&str; 4] = ["PATH", "HOME", "TZ", "RUST_BACKTRACE"];

/// The user and group of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The configuration of a process. A process is restarted if its configuration changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    /// Variables that override the inherited environment.
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) working_dir: PathBuf,
    pub(crate) account: Option<Account>,
    /// The ports that the process listens on. They must be free before the start.
    pub(crate) ports: Vec<u16>,
    pub(crate) log: PathBuf,
    pub(crate) pid_file: PathBuf,
    /// Part of the command line of the process. Together with a PID, the marker identifies the
    /// process.
    pub(crate) marker: String,
    pub(crate) probe: Probe,
    pub(crate) stop_policy: StopPolicy,
    /// A directory that must not be the working directory of any process when this process starts.
    pub(crate) exclusive_dir: Option<PathBuf>,
    /// The build of the program. `None` for a program that is not restarted after a new build.
    pub(crate) build: Option<BuildId>,
}

/// The build of a program, identified by its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BuildId {
    modified_ns: i128,
    size_bytes: u64,
}

impl BuildId {
    /// Reads the build of `program`. Returns `None` if the file does not exist.
    pub(crate) fn read(program: &Path) -> Option<Self> {
        let file = program.metadata().ok()?;
        let modified_ns = i128::from(file.mtime()) * 1_000_000_000 + i128::from(file.mtime_nsec());
        Some(Self { modified_ns, size_bytes: file.len() })
    }
}

impl Launch {
    /// Starts the process, with its output in `log`.
    pub(crate) fn spawn(&self, log: &File) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().envs(inherited_environment()).envs(&self.env);
        command.current_dir(&self.working_dir).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log.try_clone()?);
        // A separate process group prevents Ctrl-C in the terminal from reaching the process.
        command.process_group(0).kill_on_drop(true);
        if let Some(account) = self.account {
            command.uid(account.uid).gid(account.gid);
        }
        set_parent_death_signal(&mut command, self.stop_policy.parent_death);
        command.spawn()
    }
}

/// Returns the variables of this process that every process of the stack inherits.
pub(crate) fn inherited_environment() -> impl Iterator<Item = (&'static str, std::ffi::OsString)> {
    INHERITED.into_iter().filter_map(|name| std::env::var_os(name).map(|value| (name, value)))
}
