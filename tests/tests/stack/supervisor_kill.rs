//! Tests of a supervisor that is killed.

use std::process::{Child, Command, Stdio};

use mayfly_stack::{ProcessKind, Service, Spec, Stack, StackEnv};

use crate::checkout::{TestCheckout, eventually, is_running};

const ROOT: &str = "SUPERVISED_ROOT";

/// Runs as the supervisor if the environment names a root directory. Another test kills this
/// process.
#[tokio::test]
async fn run_supervisor() {
    let Some(root) = std::env::var_os(ROOT) else { return };
    let root = std::path::PathBuf::from(root);
    let spec = Spec { without_s3: true, ..Spec::for_tests(&root, root.join("bin")) };
    let _stack = Stack::up(spec).await.expect("ready");
    std::fs::write(root.join("is-up"), "").expect("written");
    // Waits until the other test closes the pipe or is killed.
    let mut stdin = tokio::io::stdin();
    tokio::io::copy(&mut stdin, &mut tokio::io::sink()).await.expect("read");
}

fn supervise(checkout: &TestCheckout) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
    command.args(["--exact", "supervisor_kill::run_supervisor"]);
    command.env(ROOT, checkout.dir.path());
    command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("started")
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn processes_exit_when_the_supervisor_is_killed() {
    let checkout = TestCheckout::new();
    let mut supervisor = supervise(&checkout);
    eventually("the stack is up", || checkout.dir.path().join("is-up").exists()).await;
    let env = StackEnv::read(&checkout.dir.path().join(".mayfly/stack.env")).expect("it exists");
    let servers =
        [ProcessKind::Redis, ProcessKind::Postgres].into_iter().flat_map(|part| env.pids(part));
    let pids: Vec<_> =
        Service::ALL.into_iter().flat_map(|service| env.pids(service)).chain(servers).collect();
    assert_eq!(pids.len(), 7);
    supervisor.kill().and_then(|()| supervisor.wait()).expect("killed");
    eventually("all have exited", || pids.iter().all(|pid| !is_running(*pid))).await;
}

#[tokio::test]
async fn killed_supervisor_does_not_block_the_next() {
    let checkout = TestCheckout::new();
    let mut supervisor = supervise(&checkout);
    eventually("the stack is up", || checkout.dir.path().join("is-up").exists()).await;
    supervisor.kill().and_then(|()| supervisor.wait()).expect("killed");
    let spec = Spec { without_s3: true, ..checkout.spec() };
    Stack::up(spec).await.expect("up again immediately, on the same data");
}
