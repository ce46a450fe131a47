//! Tests of services that are started, changed, killed and stopped.

use std::collections::BTreeMap;
use std::net::TcpListener;

use mayfly_stack::{
    ProcessKind, Readiness, Service, Spec, Stack, StackEnv, StackError, reserve_port_base,
};
use nix::sys::signal::Signal;

use crate::checkout::{TestCheckout, all_pids, eventually, first_pid, get, is_running, send};

#[tokio::test]
async fn up_returns_when_every_service_is_ready() {
    let checkout = TestCheckout::new();
    let (stack, _) = checkout.up().await;
    let status = stack.status().await.expect("a status");
    assert_eq!(status.len(), 5);
    assert!(status.iter().all(|process| process.readiness == Readiness::Ready), "{status:?}");
    let written =
        StackEnv::read(&checkout.dir.path().join(".mayfly/stack.env")).expect("it exists");
    assert_eq!(written, stack.env());
    assert!(all_pids(&stack).iter().flatten().all(|pid| is_running(*pid)));
}

#[tokio::test]
async fn applying_the_same_spec_changes_nothing() {
    let checkout = TestCheckout::new();
    let (stack, spec) = checkout.up().await;
    let before = all_pids(&stack);
    stack.apply(spec).await.expect("still ready");
    assert_eq!(all_pids(&stack), before);
}

#[tokio::test]
async fn additional_instance_restarts_nothing() {
    let checkout = TestCheckout::new();
    let (stack, spec) = checkout.up().await;
    let before = all_pids(&stack);
    stack.apply(spec.clone().with_scale(Service::WsFanout, 2)).await.expect("ready");
    assert_eq!(stack.env().urls(Service::WsFanout).len(), 2);
    let second = stack.env().pids(Service::WsFanout)[1];
    stack.apply(spec).await.expect("ready");
    assert_eq!(all_pids(&stack), before);
    assert!(!is_running(second));
}

#[tokio::test]
async fn changed_setting_restarts_the_services() {
    let checkout = TestCheckout::new();
    let (stack, spec) = checkout.up().await;
    let before = all_pids(&stack);
    stack.apply(spec.with_env("MAYFLY_LOG__LEVEL", "debug")).await.expect("ready");
    let after = all_pids(&stack);
    assert!(before.iter().zip(&after).all(|(old, new)| old != new), "{before:?} {after:?}");
    let env = get(&stack.env().admin_urls(Service::ListApi)[0], "/env");
    assert!(env.contains("MAYFLY_LOG__LEVEL=debug"), "{env}");
}

#[tokio::test]
async fn new_build_of_a_service_restarts_only_that_service() {
    let checkout = TestCheckout::new();
    let (stack, spec) = checkout.up().await;
    let before = all_pids(&stack);
    let program = checkout.dir.path().join("bin/list-api");
    let built = std::fs::read_to_string(&program).expect("there") + "# another build\n";
    std::fs::write(program, built).expect("written");
    stack.apply(spec).await.expect("ready");
    let after = all_pids(&stack);
    let both = Service::ALL.into_iter().zip(before.iter().zip(&after));
    let changed: Vec<_> =
        both.filter(|(_, (old, new))| old != new).map(|(service, _)| service).collect();
    assert_eq!(changed, [Service::ListApi]);
}

#[tokio::test]
async fn killed_service_restarts_on_its_port() {
    let checkout = TestCheckout::new();
    let (stack, _) = checkout.up().await;
    let (killed, urls) = (first_pid(&stack, Service::ListApi), stack.env().urls(Service::ListApi));
    send(killed, Signal::SIGKILL);
    eventually("another process", || {
        stack.env().pids(Service::ListApi).first().is_some_and(|pid| *pid != killed)
    })
    .await;
    assert_eq!(stack.env().urls(Service::ListApi), urls);
    stack.start(Service::ListApi).await.expect("it becomes ready again");
}

#[tokio::test]
async fn service_that_exits_is_restarted() {
    let checkout = TestCheckout::new();
    let spec = checkout.spec_on_shared_servers().await.with_env("MAYFLY_FAKE__LIFETIME_S", "1");
    let stack = Stack::up(spec).await.expect("ready");
    let exited = first_pid(&stack, Service::WsFanout);
    eventually("another process", || {
        stack.env().pids(Service::WsFanout).first().is_some_and(|pid| *pid != exited)
    })
    .await;
}

#[tokio::test]
async fn stopped_service_stays_down_until_it_is_started() {
    let checkout = TestCheckout::new();
    let (stack, spec) = checkout.up().await;
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
async fn external_server_cannot_be_stopped() {
    let checkout = TestCheckout::new();
    let (stack, _) = checkout.up().await;
    assert!(matches!(
        stack.stop(ProcessKind::Redis).await,
        Err(StackError::NotManaged(ProcessKind::Redis))
    ));
}

#[tokio::test]
async fn unready_service_is_reported_with_its_reason() {
    let checkout = TestCheckout::new();
    let spec =
        checkout.spec_on_shared_servers().await.with_env("MAYFLY_FAKE__UNREADY", "ws-fanout");
    let spec = Spec { ready_timeout: std::time::Duration::from_secs(2), ..spec };
    let stack = Stack::new(&spec).expect("made");
    let error = stack.apply(spec).await.expect_err("one is not ready").to_string();
    assert_eq!(error, "ws-fanout is not ready: no tea");
    assert!(is_running(first_pid(&stack, Service::ListApi)), "the others stay up");
}

#[tokio::test]
async fn service_that_is_degraded_at_first_is_awaited_until_it_has_settled() {
    let checkout = TestCheckout::new();
    let spec =
        checkout.spec_on_shared_servers().await.with_env("MAYFLY_FAKE__DEGRADED", "ws-fanout");
    let patient = Spec { settle_timeout: spec.ready_timeout, ..spec.clone() };
    let is_ready = async |stack: &Stack| {
        let status = stack.status().await.expect("a status");
        status.iter().all(|process| process.readiness == Readiness::Ready)
    };
    let stack = Stack::up(spec).await.expect("a degraded service counts as ready");
    assert!(!is_ready(&stack).await, "still degraded");
    stack.stop(Service::WsFanout).await.expect("down");
    stack.apply(patient).await.expect("ready");
    assert!(is_ready(&stack).await, "applied");
    stack.stop(Service::WsFanout).await.expect("down");
    stack.start(Service::WsFanout).await.expect("ready");
    assert!(is_ready(&stack).await, "started");
}

#[tokio::test]
async fn failing_service_is_reported_with_the_end_of_its_log() {
    let checkout = TestCheckout::new();
    let spec = checkout.spec_on_shared_servers().await.with_env("MAYFLY_FAKE__BROKEN", "list-api");
    let stack = Stack::new(&spec).expect("made");
    let error = stack.apply(spec.clone()).await.expect_err("it exits immediately").to_string();
    assert!(error.starts_with("list-api is not ready: it exited (exit status: 78)"), "{error}");
    assert!(error.contains("expected another value"), "{error}");
    let fixed = Spec { env: BTreeMap::new(), ..spec };
    stack.apply(fixed).await.expect("a new spec ends the restart pause");
}

#[tokio::test]
async fn service_receives_only_the_environment_it_needs() {
    let checkout = TestCheckout::new();
    let (stack, _) = checkout.up().await;
    let env = |service| get(&stack.env().admin_urls(service)[0], "/env");
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    for service in Service::ALL {
        let has_url = lines(&env(service)).iter().any(|line| line.starts_with("DATABASE_URL="));
        assert_eq!(
            has_url,
            !matches!(service, Service::IngestApi | Service::WsFanout),
            "{service}"
        );
    }
    let foreign =
        lines(&env(Service::IngestApi)).into_iter().filter(|line| line.starts_with("CARGO"));
    assert_eq!(foreign.collect::<Vec<_>>(), Vec::<String>::new());
}

#[tokio::test]
async fn port_in_use_is_reported() {
    let checkout = TestCheckout::new();
    let base = reserve_port_base().expect("a base is free");
    let port = base.port + 12;
    let _other = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    let spec = Spec { port_base: Some(base.port), ..checkout.spec_on_shared_servers().await };
    let error = Stack::up(spec).await.expect_err("it is taken");
    assert!(
        matches!(&error, StackError::PortTaken { port: in_use, name } if *in_use == port && name == "list-api"),
        "{error}"
    );
}

#[tokio::test]
async fn port_in_use_changes_nothing_on_a_running_stack() {
    let checkout = TestCheckout::new();
    let (stack, spec) = checkout.up().await;
    let before = stack.env();
    let base = reserve_port_base().expect("a base is free");
    let _other = TcpListener::bind(("127.0.0.1", base.port + 15)).expect("the port is free");
    let moved = Spec { port_base: Some(base.port), ..spec.clone() };
    let error = stack.apply(moved).await.expect_err("it is taken");
    assert!(matches!(error, StackError::PortTaken { .. }), "{error}");
    assert_eq!((stack.env(), stack.spec()), (before, Some(spec)));
}

#[tokio::test]
async fn failed_change_is_rolled_back() {
    let checkout = TestCheckout::new();
    let (stack, spec) = checkout.up().await;
    let two = spec.with_scale(Service::ListApi, 2);
    stack.apply(two.clone()).await.expect("ready");
    stack.stop(Service::WsFanout).await.expect("down");
    let before = stack.env();
    let kept = before.pids(Service::IngestApi);
    std::fs::write(checkout.dir.path().join("bin/mayfly"), "#!/bin/sh\nexit 1\n").expect("written");
    let base = reserve_port_base().expect("a base is free");
    let moved = Spec { port_base: Some(base.port), ..two.clone().with_scale(Service::ListApi, 1) };
    let error = stack.apply(moved).await.expect_err("the migration fails");
    assert!(matches!(error, StackError::Migrate(_)), "{error}");
    assert_eq!(stack.spec(), Some(two));
    eventually("all are restored", || {
        let count = |service| stack.env().pids(service).len();
        count(Service::ListApi) == 2 && count(Service::IngestApi) == 1
    })
    .await;
    assert_ne!(stack.env().pids(Service::IngestApi), kept, "it had been stopped in between");
    assert_eq!(stack.env().urls(Service::ListApi), before.urls(Service::ListApi));
    assert!(stack.env().pids(Service::WsFanout).is_empty(), "it is still stopped");
}

#[tokio::test]
async fn dropping_the_stack_stops_everything() {
    let checkout = TestCheckout::new();
    let (stack, _) = checkout.up().await;
    let pids = all_pids(&stack).concat();
    drop(stack);
    assert!(pids.iter().all(|pid| !is_running(*pid)));
}

#[tokio::test]
async fn nothing_starts_after_the_shutdown() {
    let checkout = TestCheckout::new();
    let (stack, spec) = checkout.up().await;
    let pids = all_pids(&stack).concat();
    stack.down().await.expect("down");
    assert!(pids.iter().all(|pid| !is_running(*pid)));
    assert!(matches!(stack.apply(spec).await, Err(StackError::ShuttingDown)));
    assert!(matches!(stack.start(Service::ListApi).await, Err(StackError::ShuttingDown)));
    let status = stack.status().await.expect("a status");
    assert!(status.iter().all(|process| process.readiness == Readiness::Stopped), "{status:?}");
    assert!(Service::ALL.iter().all(|service| stack.env().pids(*service).is_empty()));
}
