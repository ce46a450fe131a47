//! What a process is started as.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::probe::Probe;
use crate::process::{Ending, leash};

/// What of the caller's environment reaches a process: nothing that could change what it does.
const KEPT: [&str; 4] = ["PATH", "HOME", "TZ", "RUST_BACKTRACE"];

/// A user to run as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// All that a process is started with. Two equal launches are one process: there is nothing to restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    /// Over what is kept of the caller's environment.
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) dir: PathBuf,
    pub(crate) account: Option<Account>,
    /// Where it listens, to see that nobody else does.
    pub(crate) ports: Vec<u16>,
    pub(crate) log: PathBuf,
    pub(crate) pid_file: PathBuf,
    /// What stands in the command line of this process and of no other on the machine.
    pub(crate) mark: String,
    pub(crate) probe: Probe,
    pub(crate) ending: Ending,
    /// A directory that nobody may be working in any more when it starts again.
    pub(crate) alone_in: Option<PathBuf>,
    /// Which build of the program it is; `None` where a new build is no reason to restart.
    pub(crate) build: Option<Build>,
}

/// Which build of a program a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Build {
    modified_ns: i128,
    size_bytes: u64,
}

impl Build {
    /// Looks at the program; `None` when there is none.
    pub(crate) fn of(program: &Path) -> Option<Self> {
        let file = program.metadata().ok()?;
        let modified_ns = i128::from(file.mtime()) * 1_000_000_000 + i128::from(file.mtime_nsec());
        Some(Self { modified_ns, size_bytes: file.len() })
    }
}

impl Launch {
    /// Starts the process, with its output in `log`.
    pub(crate) fn spawn(&self, log: &File) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().envs(kept_environment()).envs(&self.env);
        command.current_dir(&self.dir).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log.try_clone()?);
        // A group of its own: what the terminal sends to its foreground is not meant for it.
        command.process_group(0).kill_on_drop(true);
        if let Some(account) = self.account {
            command.uid(account.uid).gid(account.gid);
        }
        leash(&mut command, self.ending.orphaned);
        command.spawn()
    }
}

/// What of this process' environment every process of the stack gets.
pub(crate) fn kept_environment() -> impl Iterator<Item = (&'static str, std::ffi::OsString)> {
    KEPT.into_iter().filter_map(|name| std::env::var_os(name).map(|value| (name, value)))
}
