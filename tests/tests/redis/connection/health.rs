//! The health check.

use std::{ops::RangeInclusive, time::Duration};

use mayfly_hot::{HotStore, RedisComponents, metrics as names};
use mayfly_runtime::{ComponentStatus, Criticality, Health, Lifecycle};
use metrics::set_default_local_recorder;
use tokio::task::AbortHandle;

use super::{eventually, server::Server, test_metrics::TestRecorder};

/// A running health check.
struct Watch {
    health: Health,
    task: AbortHandle,
}

impl Watch {
    fn start(hot: HotStore, needs_memory: bool) -> Self {
        let health = Health::new(Lifecycle::new(Duration::from_secs(1)));
        let redis = health.register("redis", Criticality::Required);
        let publications = Some(health.register("publications", Criticality::Optional));
        let components = RedisComponents { redis, publications, needs_memory };
        let task = tokio::spawn(hot.watch(components)).abort_handle();
        Self { health, task }
    }

    /// Waits until a component is down for a reason that contains `text`.
    async fn expect_down(&self, component: &str, text: &str) {
        eventually(text, async || {
            let report = self.health.report();
            let found = &report.components[component];
            let reason = found.reason.clone().unwrap_or_default();
            if reason.contains(text) { Ok(()) } else { Err(report) }
        })
        .await;
    }

    /// Waits until a component is up.
    async fn expect_up(&self, component: &str) {
        eventually(component, async || {
            let report = self.health.report();
            match report.components[component].status {
                ComponentStatus::Up => Ok(()),
                ComponentStatus::Down => Err(report),
            }
        })
        .await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts a server and waits until the health check reports Redis as down for a reason that
/// contains `text`.
async fn expect_unusable(arguments: &[&str], text: &str) {
    let server = Server::start(arguments).await;
    Watch::start(server.store(&[]), true).expect_down("redis", text).await;
}

#[tokio::test]
async fn suitable_server_is_up_and_the_check_leaves_nothing_behind() {
    let server = Server::start(&["--appendonly", "yes"]).await;
    let watch = Watch::start(server.store(&[]), true);
    watch.expect_up("redis").await;
    watch.expect_up("publications").await;
    drop(watch);
    let keys: Vec<String> = server.query(&["KEYS", "*"]).await;
    for key in keys {
        let ttl: i64 = server.query(&["PTTL", &key]).await;
        assert_ne!(ttl, -1, "{key} has a time to live or has expired");
    }
}

#[tokio::test]
async fn replica_is_down_and_its_primary_is_named() {
    expect_unusable(&["--replicaof", "127.0.0.1", "7"], "its primary is 127.0.0.1:7").await;
}

#[tokio::test]
async fn cluster_node_without_the_slot_is_down() {
    expect_unusable(&["--cluster-enabled", "yes"], "CLUSTERDOWN").await;
}

#[tokio::test]
async fn server_without_enough_replicas_is_down() {
    expect_unusable(&["--min-replicas-to-write", "1"], "NOREPLICAS").await;
}

#[tokio::test]
async fn sentinel_is_down() {
    let server = Server::start_sentinel().await;
    let watch = Watch::start(server.store(&[]), false);
    watch.expect_down("redis", "names a Sentinel").await;
}

#[tokio::test]
async fn evicting_server_is_down_unless_it_is_allowed_and_recovers() {
    let server = Server::start(&["--maxmemory-policy", "volatile-lru"]).await;
    let watch = Watch::start(server.store(&[]), false);
    watch.expect_down("redis", "maxmemory-policy is volatile-lru").await;
    let allowed = server.store(&[("MAYFLY_REDIS__ALLOW_EVICTION", "on")]);
    Watch::start(allowed, false).expect_up("redis").await;
    server.query::<()>(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    watch.expect_up("redis").await;
}

#[tokio::test]
async fn full_server_is_down_only_for_a_service_that_needs_memory() {
    let server = Server::start(&[]).await;
    server.query::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let watch = Watch::start(server.store(&[]), true);
    watch.expect_down("redis", "out of memory").await;
    Watch::start(server.store(&[]), false).expect_up("redis").await;
    server.query::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await;
    watch.expect_up("redis").await;
}

#[tokio::test]
async fn user_without_a_right_is_down_and_the_command_is_named() {
    let server = Server::start(&[]).await;
    server.query::<()>(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all", "-xadd"]).await;
    let server = server.with_credentials("app:pw@");
    let watch = Watch::start(server.store(&[]), false);
    watch.expect_down("redis", "(XADD)").await;
    server.query::<()>(&["ACL", "SETUSER", "app", "+xadd"]).await;
    watch.expect_up("redis").await;
}

#[tokio::test]
async fn user_who_may_not_publish_degrades_only_publications() {
    let server = Server::start(&[]).await;
    server
        .query::<()>(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all", "resetchannels"])
        .await;
    let server = server.with_credentials("app:pw@");
    let watch = Watch::start(server.store(&[]), false);
    watch.expect_down("publications", "channel").await;
    watch.expect_up("redis").await;
}

#[tokio::test]
async fn user_without_one_of_the_commands_that_any_service_uses_is_down() {
    let server = Server::start(&[]).await.with_credentials("app:pw@");
    let set_rights = async |right: &str| {
        let user = ["ACL", "SETUSER", "app", "reset", "on", ">pw", "~*", "&*", "+@all", right];
        server.query::<()>(&user).await;
    };
    for (right, command) in [
        ("-info", "info"),
        ("-hset", "(HSET)"),
        ("-incrby", "(INCRBY)"),
        ("-xreadgroup", "(XREADGROUP)"),
        ("-xgroup|setid", "(XGROUP)"),
        ("-memory", "(MEMORY)"),
        // The command category that hosted Redis services often exclude.
        ("-@dangerous", "info"),
    ] {
        set_rights(right).await;
        Watch::start(server.store(&[]), false).expect_down("redis", command).await;
        set_rights("+@all").await;
        Watch::start(server.store(&[]), false).expect_up("redis").await;
    }
    // The minimum rights that OPERATIONS.md states.
    let minimum = ["~mayfly:*", "&mayfly:*", "+@all", "-@admin", "-@dangerous", "+info"];
    let user = ["ACL", "SETUSER", "app", "reset", "on", ">pw"].iter().chain(&minimum);
    server.query::<()>(&user.copied().collect::<Vec<_>>()).await;
    let watch = Watch::start(server.store(&[]), false);
    watch.expect_up("redis").await;
    watch.expect_up("publications").await;
    let left: Vec<String> = server.query(&["KEYS", "*"]).await;
    assert!(left.iter().all(|key| key.ends_with(":probe")), "{left:?}");
}

async fn expect_gauge(recorder: &TestRecorder, series: &str, range: RangeInclusive<f64>) {
    eventually(series, async || match recorder.gauge(series) {
        Some(value) if range.contains(&value) => Ok(()),
        other => Err(other),
    })
    .await;
}

async fn expect_evictions(recorder: &TestRecorder, count: u64) {
    eventually("the number of evicted keys", async || {
        match recorder.counter(names::REDIS_EVICTED_KEYS_TOTAL) {
            Some(evicted) if evicted == count => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

#[tokio::test]
async fn memory_evictions_and_the_state_of_the_append_only_file_are_exported() {
    const BYTES: f64 = 8_388_608.0;
    let recorder = TestRecorder::default();
    let _guard = set_default_local_recorder(&recorder);
    // While the server is not suitable, every check reads the state of the server.
    let server = Server::start(&["--appendonly", "yes", "--maxmemory-policy", "allkeys-lru"]).await;
    server.query::<()>(&["SETRANGE", "large", "8388607", "x"]).await;
    let _watch = Watch::start(server.store(&[]), false);
    let [write_failed, rewrite_failed] =
        ["write", "rewrite"].map(|operation| format!("{} {operation}", names::REDIS_AOF_FAILED));
    expect_gauge(&recorder, names::REDIS_MEMORY_BYTES, BYTES..=2.0 * BYTES).await;
    expect_gauge(&recorder, names::REDIS_MEMORY_MAX_BYTES, 0.0..=0.0).await;
    expect_evictions(&recorder, 0).await;
    expect_gauge(&recorder, names::REDIS_AOF_ENABLED, 1.0..=1.0).await;
    expect_gauge(&recorder, &rewrite_failed, 0.0..=0.0).await;

    server.query::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    std::fs::remove_dir_all(server.directory()).expect("the directory is deleted");
    let mut connection = server.try_connect().await.expect("Redis responds");
    let rewritten = redis::cmd("BGREWRITEAOF").exec_async(&mut connection).await;
    rewritten.expect_err("the directory was deleted");
    expect_gauge(&recorder, names::REDIS_MEMORY_BYTES, 1.0..=BYTES).await;
    expect_gauge(&recorder, names::REDIS_MEMORY_MAX_BYTES, 1.0..=1.0).await;
    expect_evictions(&recorder, 1).await;
    expect_gauge(&recorder, &rewrite_failed, 1.0..=1.0).await;
    expect_gauge(&recorder, &write_failed, 0.0..=0.0).await;

    server.query::<()>(&["CONFIG", "SET", "appendonly", "no"]).await;
    expect_gauge(&recorder, names::REDIS_AOF_ENABLED, 0.0..=0.0).await;
}
