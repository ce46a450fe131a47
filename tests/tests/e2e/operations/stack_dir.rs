//! A local stack that the command `mayfly` starts in a separate directory.

use std::{
    ffi::OsStr,
    process::{Output, Stdio},
    time::Duration,
};

use mayfly_stack::{ReservedPort, StackEnv, reserve_port_base};
use mayfly_tests::{ExitCommand, bin_dir};
use tempfile::TempDir;
use tokio::{process::Command, time::timeout};

/// How long a command may take; the first one starts servers.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// A directory with its own stack, which is stopped when this is dropped, or when the test process
/// ends, even if the test process is killed.
pub struct StackDir {
    _reset_at_exit: ExitCommand,
    pub root: TempDir,
    pub port_base: u16,
    _reserved: ReservedPort,
}

impl StackDir {
    pub fn new() -> Self {
        let root = tempfile::tempdir().expect("the directory is created");
        let mayfly = bin_dir().join("mayfly");
        let reset = "\"$1\" reset --yes; rm -rf \"$2\"";
        let arguments: [&OsStr; 2] = [mayfly.as_ref(), root.path().as_ref()];
        let reset_at_exit = ExitCommand::new(root.path(), reset, arguments);
        let reserved = reserve_port_base().expect("a base is free");
        Self { _reset_at_exit: reset_at_exit, root, port_base: reserved.port, _reserved: reserved }
    }

    /// Returns a command without variables of the caller that concern a stack.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(bin_dir().join("mayfly"));
        command
            .args(arguments)
            .current_dir(self.root.path())
            .env("MAYFLY_PORT_BASE", self.port_base.to_string())
            .env_remove("SCALE")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    pub async fn run(&self, arguments: &[&str]) -> CommandOutput {
        CommandOutput::of(&mut self.command(arguments)).await
    }

    pub fn env(&self) -> StackEnv {
        StackEnv::read(&self.root.path().join(".mayfly/stack.env")).expect("the stack was started")
    }
}

impl Drop for StackDir {
    fn drop(&mut self) {
        let mut reset = std::process::Command::new(bin_dir().join("mayfly"));
        reset.args(["reset", "--yes"]).current_dir(self.root.path()).stdout(Stdio::null());
        assert!(
            std::thread::panicking() || reset.status().is_ok_and(|status| status.success()),
            "the stack is reset"
        );
    }
}

/// The output and exit code of a command.
#[derive(Debug)]
pub struct CommandOutput {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl CommandOutput {
    pub async fn of(command: &mut Command) -> Self {
        let output = timeout(COMMAND_TIMEOUT, command.output()).await.expect("the command exits");
        Self::read(output.expect("the command starts"))
    }

    pub fn read(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("valid UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("valid UTF-8"),
        }
    }
}
