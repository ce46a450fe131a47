//! The kinds of errors from servers in states that reject commands.

use std::time::Duration;

use mayfly_core::{KeyHash, StateFeed, StoreError, StoreErrorKind};
use mayfly_hot::{ApiKeyState, Consumer, HotError, HotStore, Lease, Stream};
use mayfly_stack::reserve_free_port;

use super::{eventually, server::Server};
use crate::{
    TestStore,
    messages::{self, messages_to},
    visits::{visit, write_request},
};

/// A write by a script, a write by a plain command, and a read.
async fn call_all(hot: &HotStore) -> [Result<(), HotError>; 3] {
    let mut lease = Lease::new(hot, "test", Duration::from_secs(60));
    [
        lease.acquire_or_renew().await.map(drop),
        hot.queue().clear_attempts(Stream::Messages, "1-1").await,
        hot.snapshots().find_state(StateFeed::Stats).await.map(drop),
    ]
}

/// Asserts that the expected number of calls failed and that every failure is temporary. Returns
/// the causes.
#[track_caller]
fn expect_unavailable(results: [Result<(), HotError>; 3], failures: usize) -> String {
    let errors: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    assert_eq!(errors.len(), failures, "{errors:?}");
    for error in &errors {
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    }
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn replica_rejects_writes_temporarily() {
    let server = Server::start(&["--replicaof", "127.0.0.1", "1"]).await;
    let causes = expect_unavailable(call_all(&server.store(&[])).await, 2);
    assert!(causes.contains("READONLY"), "{causes}");
    server.query::<()>(&["CONFIG", "SET", "replica-serve-stale-data", "no"]).await;
    let causes = expect_unavailable(call_all(&server.store(&[])).await, 3);
    assert!(causes.contains("MASTERDOWN"), "{causes}");
}

#[tokio::test]
async fn server_without_enough_replicas_rejects_writes_temporarily() {
    let server = Server::start(&["--min-replicas-to-write", "1"]).await;
    let causes = expect_unavailable(call_all(&server.store(&[])).await, 2);
    assert!(causes.contains("NOREPLICAS"), "{causes}");
}

#[tokio::test]
async fn server_that_cannot_persist_rejects_writes_temporarily() {
    let server = Server::start(&["--save", "3600 1"]).await;
    std::fs::remove_dir_all(server.directory()).expect("the directory is deleted");
    server.query::<()>(&["SET", "a", "1"]).await;
    server.query::<redis::Value>(&["BGSAVE"]).await;
    eventually("the snapshot fails", async || {
        let info: String = server.query(&["INFO", "persistence"]).await;
        if info.contains("rdb_last_bgsave_status:err") { Ok(()) } else { Err(info) }
    })
    .await;
    let causes = expect_unavailable(call_all(&server.store(&[])).await, 2);
    assert!(causes.contains("MISCONF"), "{causes}");
}

#[tokio::test]
async fn user_without_rights_is_rejected_temporarily() {
    let server = Server::start(&[]).await;
    server.query::<()>(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "+@read", "+ping"]).await;
    server.query::<()>(&["ACL", "SETUSER", "app", "+unwatch", "+evalsha", "+script|load"]).await;
    let server = server.with_credentials("app:pw@");
    // The user has the right to run the script of the first call, but not to write in the script.
    let causes = expect_unavailable(call_all(&server.store(&[])).await, 2);
    let is_named = causes.contains("can't run this command") || causes.contains("ACL failure");
    assert!(causes.contains("NOPERM") && is_named, "{causes}");
}

#[tokio::test]
async fn wrong_or_missing_password_is_rejected_temporarily() {
    let server = Server::start(&[]).await;
    server.query::<()>(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all"]).await;
    let wrong = TestUrl(&server, "app:hunter2@");
    let causes = expect_unavailable(call_all(&wrong.store()).await, 3);
    assert!(causes.contains("username or the password") && !causes.contains("hunter2"), "{causes}");
    server.query::<()>(&["ACL", "SETUSER", "default", "off"]).await;
    let causes = expect_unavailable(call_all(&server.store(&[])).await, 3);
    assert!(causes.contains("NOAUTH"), "{causes}");
}

/// A server, and the credentials to use instead of the server's own.
struct TestUrl<'a>(&'a Server, &'a str);

impl TestUrl<'_> {
    fn store(&self) -> HotStore {
        let url = format!("redis://{}{}", self.1, self.0.address());
        TestStore::create_store(&url, "mayfly", &[])
    }
}

#[tokio::test]
async fn cluster_node_without_the_slot_rejects_everything_temporarily() {
    // By default, the port of the cluster bus is not reserved, so that another process may use it.
    let bus = reserve_free_port().expect("a free port");
    let bus_port = bus.port.to_string();
    let server = Server::start(&["--cluster-enabled", "yes", "--cluster-port", &bus_port]).await;
    let causes = expect_unavailable(call_all(&server.store(&[])).await, 3);
    assert!(causes.contains("CLUSTERDOWN"), "{causes}");
}

#[tokio::test]
async fn sentinel_rejects_everything_temporarily() {
    let server = Server::start_sentinel().await;
    let causes = expect_unavailable(call_all(&server.store(&[])).await, 3);
    assert!(causes.contains("unknown command"), "{causes}");
}

#[tokio::test]
async fn server_with_too_many_clients_rejects_connections_temporarily() {
    let server = Server::start(&[]).await;
    server.query::<()>(&["CONFIG", "SET", "maxclients", "1"]).await;
    let occupied = eventually("the only connection", async || server.try_connect().await).await;
    // Redis may reset the connection before the client reads the cause.
    expect_unavailable(call_all(&server.store(&[])).await, 3);
    drop(occupied);
}

#[tokio::test]
async fn busy_server_rejects_everything_temporarily() {
    let server = Server::start(&["--busy-reply-threshold", "1"]).await;
    let hot = server.store(&[]);
    // Opens the connection first, because a busy server rejects the commands that set up a
    // connection.
    for result in call_all(&hot).await {
        result.expect("Redis responds");
    }
    let mut connection = server.try_connect().await.expect("Redis responds");
    let script = tokio::spawn(async move {
        let mut command = redis::cmd("EVAL");
        command.arg("while true do end").arg(0);
        command.query_async::<()>(&mut connection).await
    });
    let causes = eventually("the server is busy", async || {
        let [write, _, read] = call_all(&hot).await;
        match (write, read) {
            (Err(write), Err(read)) => Ok([write, read]),
            results => Err(results),
        }
    })
    .await;
    for error in causes {
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    }
    script.abort();
}

#[tokio::test]
async fn full_server_rejects_messages_as_overloaded_and_serves_leases_deletions_and_reads() {
    let server = Server::start(&[]).await;
    let test = TestStore::connect(&server.url(), "mayfly", &[]).await;
    test.query::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let request = messages::write_request(&messages_to("kiran", 1));
    let written = test.message_writer().write(request).await;
    assert!(matches!(written, Err(HotError::OutOfMemory)), "{written:?}");
    for result in call_all(&test.hot).await {
        result.expect("the call succeeds");
    }
}

/// Only workers free the memory of the queue, so a worker that starts first on a full server must be
/// able to read.
#[tokio::test]
async fn full_server_delivers_entries_to_a_new_group() {
    let server = Server::start(&[]).await;
    let test = TestStore::connect(&server.url(), "mayfly", &[]).await;
    test.accept(&messages_to("kiran", 2)).await;
    test.query::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let mut consumer = Consumer::new(test.hot.clone(), Stream::Messages, "one".to_owned());
    let wait = Duration::from_millis(1);
    let created = consumer.read_batch(10, wait).await.expect("the group is created");
    assert!(created.deliveries.is_empty(), "{created:?}");
    let batch = consumer.read_batch(10, wait).await.expect("Redis responds");
    assert_eq!(batch.deliveries.len(), 2);
    test.hot.queue().create_group(Stream::Messages).await.expect("it exists");
}

/// A full server rejects transactions, even those that only read.
#[tokio::test]
async fn full_server_serves_reads_of_several_keys() {
    let server = Server::start(&[]).await;
    let test = TestStore::connect(&server.url(), "mayfly", &[]).await;
    let request = write_request(vec![visit("/", "v")]);
    test.visit_writer().write(request).await.expect("Redis responds");
    test.query::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert_eq!(test.count_pages().await, [("/".to_owned(), 1)]);
    let key = test.hot.api_keys().find(&KeyHash::from_key("key")).await;
    assert_eq!(key.expect("reads succeed"), ApiKeyState::NotLoaded);
}

#[tokio::test]
async fn flushed_scripts_are_loaded_again() {
    let server = Server::start(&[]).await;
    let hot = server.store(&[]);
    for _ in 0..2 {
        for result in call_all(&hot).await {
            result.expect("Redis responds");
        }
        server.query::<()>(&["SCRIPT", "FLUSH"]).await;
    }
}
