//! What happens to services: wanted, changed, killed, stopped.

use std::collections::BTreeMap;
use std::net::TcpListener;

use mayfly_stack::{Part, Readiness, Service, Spec, Stack, StackEnv, StackError};
use nix::sys::signal::Signal;

use crate::house::{House, all_pids, eventually, first_pid, get, is_running, send};

#[tokio::test]
async fn up_returns_when_every_service_is_ready() {
    let house = House::new();
    let (stack, _) = house.up().await;
    let status = stack.status().await.expect("told");
    assert_eq!(status.len(), 5);
    assert!(status.iter().all(|process| process.readiness == Readiness::Ready), "{status:?}");
    let written = StackEnv::read(&house.dir.path().join(".mayfly/stack.env")).expect("it is there");
    assert_eq!(written, stack.env());
    assert!(all_pids(&stack).iter().flatten().all(|pid| is_running(*pid)));
}

#[tokio::test]
async fn the_same_again_changes_nothing() {
    let house = House::new();
    let (stack, spec) = house.up().await;
    let before = all_pids(&stack);
    stack.apply(spec).await.expect("still ready");
    assert_eq!(all_pids(&stack), before);
}

#[tokio::test]
async fn a_further_instance_restarts_nothing() {
    let house = House::new();
    let (stack, spec) = house.up().await;
    let before = all_pids(&stack);
    stack.apply(spec.clone().with_scale(Service::WsFanout, 2)).await.expect("ready");
    assert_eq!(stack.env().urls(Service::WsFanout).len(), 2);
    let second = stack.env().pids(Service::WsFanout)[1];
    stack.apply(spec).await.expect("ready");
    assert_eq!(all_pids(&stack), before);
    assert!(!is_running(second));
}

#[tokio::test]
async fn another_setting_restarts_the_services() {
    let house = House::new();
    let (stack, spec) = house.up().await;
    let before = all_pids(&stack);
    stack.apply(spec.with_env("MAYFLY_LOG__LEVEL", "debug")).await.expect("ready");
    let after = all_pids(&stack);
    assert!(before.iter().zip(&after).all(|(old, new)| old != new), "{before:?} {after:?}");
    let env = get(&stack.env().admin_urls(Service::ListApi)[0], "/env");
    assert!(env.contains("MAYFLY_LOG__LEVEL=debug"), "{env}");
}

#[tokio::test]
async fn a_new_build_of_one_service_restarts_that_one() {
    let house = House::new();
    let (stack, spec) = house.up().await;
    let before = all_pids(&stack);
    let program = house.dir.path().join("bin/list-api");
    let built = std::fs::read_to_string(&program).expect("there") + "# built again\n";
    std::fs::write(program, built).expect("written");
    stack.apply(spec).await.expect("ready");
    let after = all_pids(&stack);
    let both = Service::ALL.into_iter().zip(before.iter().zip(&after));
    let changed: Vec<_> =
        both.filter(|(_, (old, new))| old != new).map(|(service, _)| service).collect();
    assert_eq!(changed, [Service::ListApi]);
}

#[tokio::test]
async fn a_killed_service_is_started_again_on_its_port() {
    let house = House::new();
    let (stack, _) = house.up().await;
    let (killed, urls) = (first_pid(&stack, Service::ListApi), stack.env().urls(Service::ListApi));
    send(killed, Signal::SIGKILL);
    eventually("another process", || {
        stack.env().pids(Service::ListApi).first().is_some_and(|pid| *pid != killed)
    })
    .await;
    assert_eq!(stack.env().urls(Service::ListApi), urls);
    stack.start(Service::ListApi).await.expect("it gets ready again");
}

#[tokio::test]
async fn a_service_that_leaves_by_itself_is_started_again() {
    let house = House::new();
    let spec = house.spec_on_shared_servers().await.with_env("MAYFLY_FAKE__LAST_S", "1");
    let stack = Stack::up(spec).await.expect("ready");
    let left = first_pid(&stack, Service::WsFanout);
    eventually("another process", || {
        stack.env().pids(Service::WsFanout).first().is_some_and(|pid| *pid != left)
    })
    .await;
}

#[tokio::test]
async fn what_was_stopped_stays_down_until_it_is_started() {
    let house = House::new();
    let (stack, spec) = house.up().await;
    let stopped = first_pid(&stack, Service::PersistWorker);
    stack.stop(Service::PersistWorker).await.expect("down");
    assert!(!is_running(stopped) && stack.env().pids(Service::PersistWorker).is_empty());
    assert_eq!(stack.env().get("PERSIST_WORKER_PID"), "");
    stack.stop(Service::PersistWorker).await.expect("it is down already");
    stack.start(Service::PersistWorker).await.expect("up");
    assert!(is_running(first_pid(&stack, Service::PersistWorker)));
    stack.stop(Service::PersistWorker).await.expect("down");
    stack.apply(spec).await.expect("ready");
    assert!(is_running(first_pid(&stack, Service::PersistWorker)));
}

#[tokio::test]
async fn what_the_stack_does_not_run_cannot_be_stopped() {
    let house = House::new();
    let (stack, _) = house.up().await;
    assert!(matches!(stack.stop(Part::Redis).await, Err(StackError::NotRun(Part::Redis))));
}

#[tokio::test]
async fn a_service_that_never_gets_ready_is_named_with_its_reason() {
    let house = House::new();
    let spec = house.spec_on_shared_servers().await.with_env("MAYFLY_FAKE__UNREADY", "ws-fanout");
    let spec = Spec { ready_within: std::time::Duration::from_secs(2), ..spec };
    let stack = Stack::new(&spec).expect("made");
    let error = stack.apply(spec).await.expect_err("one is not ready").to_string();
    assert_eq!(error, "ws-fanout is not ready: no tea");
    assert!(is_running(first_pid(&stack, Service::ListApi)), "the others stay up");
}

#[tokio::test]
async fn a_service_that_cannot_start_is_named_with_its_last_words() {
    let house = House::new();
    let spec = house.spec_on_shared_servers().await.with_env("MAYFLY_FAKE__BROKEN", "list-api");
    let stack = Stack::new(&spec).expect("made");
    let error = stack.apply(spec.clone()).await.expect_err("it leaves at once").to_string();
    assert!(error.starts_with("list-api is not ready: it ended (exit status: 78)"), "{error}");
    assert!(error.contains("allowed is anything else"), "{error}");
    let mended = Spec { env: BTreeMap::new(), ..spec };
    stack.apply(mended).await.expect("a pause is not kept up when something else is wanted");
}

#[tokio::test]
async fn a_service_is_told_only_what_it_may_know() {
    let house = House::new();
    let (stack, _) = house.up().await;
    let env = |service| get(&stack.env().admin_urls(service)[0], "/env");
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    for service in Service::ALL {
        let knows = lines(&env(service)).iter().any(|line| line.starts_with("DATABASE_URL="));
        assert_eq!(knows, !matches!(service, Service::IngestApi | Service::WsFanout), "{service}");
    }
    let foreign =
        lines(&env(Service::IngestApi)).into_iter().filter(|line| line.starts_with("CARGO"));
    assert_eq!(foreign.collect::<Vec<_>>(), Vec::<String>::new());
}

#[tokio::test]
async fn a_port_that_another_program_has_is_named() {
    let house = House::new();
    let other = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = other.local_addr().expect("bound").port();
    let spec =
        Spec { port_base: Some(port.saturating_sub(12)), ..house.spec_on_shared_servers().await };
    let error = Stack::up(spec).await.expect_err("it is taken");
    assert!(
        matches!(&error, StackError::PortTaken { port: taken, name } if *taken == port && name == "list-api"),
        "{error}"
    );
}

#[tokio::test]
async fn nothing_is_left_of_a_stack_that_is_dropped() {
    let house = House::new();
    let (stack, _) = house.up().await;
    let pids = all_pids(&stack).concat();
    drop(stack);
    assert!(pids.iter().all(|pid| !is_running(*pid)));
}

#[tokio::test]
async fn nothing_is_started_any_more_once_it_goes_down() {
    let house = House::new();
    let (stack, spec) = house.up().await;
    let pids = all_pids(&stack).concat();
    stack.down().await.expect("down");
    assert!(pids.iter().all(|pid| !is_running(*pid)));
    assert!(matches!(stack.apply(spec).await, Err(StackError::Closing)));
    assert!(Service::ALL.iter().all(|service| stack.env().pids(*service).is_empty()));
}
