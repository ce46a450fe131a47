//! What happens when the supervisor itself is killed.

use std::process::{Child, Command, Stdio};

use mayfly_stack::{Part, Service, Spec, Stack, StackEnv};

use crate::house::{House, eventually, is_running};

const ROOT: &str = "SUPERVISED_ROOT";

/// Supervises a stack for another test, which kills this process.
#[tokio::test]
async fn a_stack_is_supervised_when_asked_for() {
    let Some(root) = std::env::var_os(ROOT) else { return };
    let root = std::path::PathBuf::from(root);
    let spec = Spec { without_s3: true, ..Spec::for_tests(&root, root.join("bin")) };
    let _stack = Stack::up(spec).await.expect("ready");
    std::fs::write(root.join("is-up"), "").expect("written");
    std::future::pending::<()>().await;
}

fn supervise(house: &House) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
    command.args(["--exact", "survivors::a_stack_is_supervised_when_asked_for"]);
    command.env(ROOT, house.dir.path()).stdout(Stdio::null()).spawn().expect("started")
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn nothing_survives_a_supervisor_that_is_killed() {
    let house = House::new();
    let mut supervisor = supervise(&house);
    eventually("the stack is up", || house.dir.path().join("is-up").exists()).await;
    let env = StackEnv::read(&house.dir.path().join(".mayfly/stack.env")).expect("it is there");
    let servers = [Part::Redis, Part::Postgres].into_iter().flat_map(|part| env.pids(part));
    let pids: Vec<_> =
        Service::ALL.into_iter().flat_map(|service| env.pids(service)).chain(servers).collect();
    assert_eq!(pids.len(), 7);
    supervisor.kill().and_then(|()| supervisor.wait()).expect("killed");
    eventually("all are gone", || pids.iter().all(|pid| !is_running(*pid))).await;
}

#[tokio::test]
async fn a_supervisor_that_was_killed_does_not_block_the_next() {
    let house = House::new();
    let mut supervisor = supervise(&house);
    eventually("the stack is up", || house.dir.path().join("is-up").exists()).await;
    supervisor.kill().and_then(|()| supervisor.wait()).expect("killed");
    let spec = Spec { without_s3: true, ..house.spec() };
    Stack::up(spec).await.expect("up again, at once, on the same data");
}
