//! Child processes that cannot outlive the test.

use std::{ffi::OsStr, process::Stdio};

use tokio::process::{Child, Command};

/// Runs a program and kills it as soon as the other end of the shell's standard input is closed.
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
