//! `mayfly pause`, the first process of the container in which operators execute commands.

use std::process::Stdio;

use mayfly_tests::{DEFAULT_TIMEOUT, bin_dir, send_signal};
use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    time::timeout,
};

#[tokio::test]
async fn pause_needs_no_configuration_and_exits_on_sigterm() {
    let mut command = Command::new(bin_dir().join("mayfly"));
    command.arg("pause").env_clear().current_dir("/").kill_on_drop(true);
    let mut process = command.stderr(Stdio::piped()).spawn().expect("the command starts");
    let stderr = process.stderr.take().expect("stderr is piped");
    let mut lines = BufReader::new(stderr).lines();
    let line = timeout(DEFAULT_TIMEOUT, lines.next_line()).await.expect("the command waits");
    let line = line.expect("the output is valid UTF-8");
    assert!(line.is_some_and(|line| line.contains("waiting")));
    send_signal(process.id().expect("the process runs"), Signal::SIGTERM);
    let status = timeout(DEFAULT_TIMEOUT, process.wait()).await.expect("the command exits");
    assert_eq!(status.expect("an exit status").code(), Some(0));
}
