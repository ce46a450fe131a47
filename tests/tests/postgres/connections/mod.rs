//! Connections that are refused, or that a firewall dropped while they were idle.

mod tls;

use std::time::Duration;

use mayfly_cold::{ColdError, ColdStore};
use mayfly_runtime::settings::PostgresSettings;
use mayfly_stack::{Firewall, SharedServers};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};

const SESSIONS: usize = 4;

fn store(url: String, timeout: Duration) -> ColdStore {
    ColdStore::new(&PostgresSettings { url: url.into(), pool_size_max: SESSIONS, timeout })
}

/// Reads concurrently in all sessions of a pool. The schema need not exist.
async fn read_concurrently(store: &ColdStore) -> Vec<Result<(), ColdError>> {
    let mut reads = JoinSet::new();
    for _ in 0..SESSIONS {
        let store = store.clone();
        reads.spawn(async move { store.has_schema().await.map(drop) });
    }
    reads.join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_dropped_while_idle_are_replaced_before_they_are_used() {
    let url = SharedServers::get().await.expect("the servers start").database_url();
    let (credentials, address) = url.rsplit_once('@').expect("a user");
    let (address, database) = address.split_once('/').expect("a database");
    let firewall = Firewall::start(address).await.expect("a free port");
    let url = format!("{credentials}@{}/{database}", firewall.address());
    let store = store(url, Duration::from_secs(10));
    for result in read_concurrently(&store).await {
        result.expect("Postgres responds");
    }
    let opened = firewall.connections_opened();
    // A session is validated before use if it was idle for one second.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    firewall.forget_connections();
    for result in read_concurrently(&store).await {
        result.expect("a new session is used");
    }
    assert!(firewall.connections_opened() > opened, "the idle sessions are replaced");
}

#[tokio::test(flavor = "multi_thread")]
async fn host_that_does_not_respond_leaves_time_for_the_next_one() {
    let url = SharedServers::get().await.expect("the servers start").database_url();
    let (credentials, rest) = url.rsplit_once('@').expect("a user");
    // The kernel establishes connections to this listener, but no server accepts them.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = silent.local_addr().expect("an address");
    let store = store(format!("{credentials}@{address},{rest}"), Duration::from_secs(6));
    store.has_schema().await.expect("the second host responds");
    drop(silent);
}

/// Postgres translates its messages if `lc_messages` is not English.
#[tokio::test(flavor = "multi_thread")]
async fn refused_password_is_recognized_in_every_language_and_not_logged() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.expect("a connection");
        let length = client.read_u32().await.expect("the length of the startup message");
        let mut startup = vec![0; usize::try_from(length).expect("a short message") - 4];
        client.read_exact(&mut startup).await.expect("the startup message");
        let body = "SFATAL\0VFATAL\0C28P01\0MPasswort-Authentifizierung für Benutzer »me« \
                    fehlgeschlagen\0\0";
        let length = u32::try_from(body.len() + 4).expect("a short message").to_be_bytes();
        let response = [b"E".as_slice(), &length, body.as_bytes()].concat();
        client.write_all(&response).await.expect("the client reads");
    });
    let url = format!("postgres://me:hunter2@{address}/x?sslmode=disable");
    let store = store(url, Duration::from_secs(10));
    let error = store.has_schema().await.expect_err("the password is refused");
    assert!(error.is_outage(), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("»me« fehlgeschlagen (SQLSTATE 28P01)"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    server.await.expect("the server responded");
}
