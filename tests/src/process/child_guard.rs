//! Child processes that cannot outlive the test.

use std::{ffi::OsStr, os::unix::process::CommandExt as _, path::Path, process::Stdio};

use tokio::process::{Child, Command};

/// Runs a program and kills it when the shell's standard input reaches end-of-file.
const GUARD_SCRIPT: &str = r#""$@" </dev/null & cat; kill -KILL $!"#;

/// A program that is killed when this is dropped or when the test process ends, even if the process
/// is killed or the guard is in a static, which is never dropped.
#[derive(Debug)]
pub struct ChildGuard(#[expect(dead_code, reason = "it owns the pipe to the shell")] Child);

impl ChildGuard {
    /// Starts a program and writes its output to `log`.
    ///
    /// # Panics
    /// If the shell does not start.
    pub fn start<I, S>(command_line: I, log: std::fs::File) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut shell = Command::new("sh");
        shell.args(["-c", GUARD_SCRIPT, "guard"]).args(command_line).stdin(Stdio::piped());
        shell.stdout(log.try_clone().expect("the file handle is duplicated")).stderr(log);
        Self(shell.spawn().expect("the shell starts"))
    }
}

/// A shell command that runs when the test process ends without dropping this, for example because
/// the test process is killed. The command can stop background processes that would otherwise run
/// forever.
#[derive(Debug)]
pub struct ExitCommand(std::process::Child);

impl ExitCommand {
    /// Prepares a command that runs in `dir`, with the arguments `$1`, `$2` and so on.
    ///
    /// # Panics
    /// If the shell does not start.
    pub fn new<S: AsRef<OsStr>>(
        dir: &Path,
        command: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Self {
        let mut shell = std::process::Command::new("sh");
        shell.arg("-c").arg(format!("cat >/dev/null; {command}")).arg("exit-command");
        // The shell has its own process group, so that Ctrl-C does not stop it.
        shell.args(arguments).current_dir(dir).process_group(0);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(shell.spawn().expect("the shell starts"))
    }
}

impl Drop for ExitCommand {
    fn drop(&mut self) {
        // The shell may already have exited.
        let _exited = self.0.kill().and_then(|()| self.0.wait());
    }
}
