//! Tests of the stack's own Redis, Postgres and S3.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use mayfly_stack::{ProcessKind, Service, SharedRedis, SharedServers, Spec, Stack};
use nix::sys::signal::Signal;

use crate::checkout::{TestCheckout, eventually, is_running, send};

const SERVERS: [ProcessKind; 3] = [ProcessKind::Redis, ProcessKind::Postgres, ProcessKind::S3];

/// Sends one command to Redis and returns the first line of the reply.
fn redis(url: &str, command: &str) -> String {
    let mut stream = TcpStream::connect(url.trim_start_matches("redis://")).expect("Redis listens");
    write!(stream, "{command}\r\n").expect("sent");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("a reply");
    line.trim().to_owned()
}

async fn postgres(url: &str, statement: &str) -> Result<usize, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    let messages = client.simple_query(statement).await?;
    Ok(messages
        .iter()
        .filter(|message| matches!(message, tokio_postgres::SimpleQueryMessage::Row(_)))
        .count())
}

#[tokio::test]
async fn stack_starts_its_servers_and_stops_all_of_them() {
    let checkout = TestCheckout::new();
    let stack = Stack::up(checkout.spec()).await.expect("ready");
    let env = stack.env();
    let pids: Vec<_> = SERVERS.iter().flat_map(|server| env.pids(*server)).collect();
    assert_eq!(pids.len(), 3);
    assert_eq!(redis(env.redis_url(), "CONFIG GET appendonly").as_str(), "*2");
    assert_eq!(postgres(env.database_url(), "select 1").await.expect("asked"), 1);
    let log = std::fs::read_to_string(checkout.dir.path().join(".mayfly/logs/migrate.log"))
        .expect("migrated");
    assert_eq!(log.trim(), env.database_url());
    stack.down().await.expect("down");
    assert!(pids.iter().all(|pid| !is_running(*pid)));
}

#[tokio::test]
async fn data_survives_a_stop_and_a_kill() {
    let checkout = TestCheckout::new();
    let stack = Stack::up(Spec {
        root: checkout.dir.path().into(),
        ..Spec::servers_only(checkout.dir.path())
    })
    .await
    .expect("ready");
    let env = stack.env();
    assert_eq!(redis(env.redis_url(), "SET tea green"), "+OK");
    postgres(env.database_url(), "create table tea (kind text); insert into tea values ('green')")
        .await
        .expect("stored");
    for server in [ProcessKind::Redis, ProcessKind::Postgres] {
        stack.stop(server).await.expect("down");
        assert!(stack.env().pids(server).is_empty());
        stack.start(server).await.expect("up");
        let killed = stack.env().pids(server)[0];
        send(killed, Signal::SIGKILL);
        eventually("another process", || {
            stack.env().pids(server).first().is_some_and(|pid| *pid != killed)
        })
        .await;
        stack.start(server).await.expect("up");
    }
    assert_eq!(redis(env.redis_url(), "EXISTS tea"), ":1");
    assert_eq!(postgres(env.database_url(), "select * from tea").await.expect("asked"), 1);
}

#[tokio::test]
async fn changed_durability_restarts_redis() {
    let checkout = TestCheckout::new();
    let spec = Spec::redis_only(checkout.dir.path());
    let stack = Stack::up(spec.clone()).await.expect("ready");
    let before = stack.env().pids(ProcessKind::Redis);
    stack.apply(spec.clone()).await.expect("ready");
    assert_eq!(stack.env().pids(ProcessKind::Redis), before);
    stack.apply(Spec { durable: !spec.durable, ..spec }).await.expect("ready");
    assert_ne!(stack.env().pids(ProcessKind::Redis), before);
}

#[tokio::test]
async fn service_is_up_when_live_while_a_server_is_stopped() {
    let checkout = TestCheckout::new();
    let spec = Spec { without_s3: true, ..checkout.spec() };
    let stack = Stack::up(spec.clone()).await.expect("ready");
    stack.stop(ProcessKind::Redis).await.expect("down");
    let unready = spec.clone().with_env("MAYFLY_FAKE__UNREADY", "list-api");
    let unready = Spec { ready_timeout: std::time::Duration::ZERO, ..unready };
    let error = stack.apply(unready).await.expect_err("not ready immediately").to_string();
    assert!(error.contains("list-api"), "{error}");
    stack.stop(ProcessKind::Redis).await.expect("down");
    stack.stop(Service::ListApi).await.expect("down");
    stack.start(Service::ListApi).await.expect("it is live");
}

#[tokio::test]
async fn shared_servers_create_databases() {
    let servers = SharedServers::get().await.expect("up");
    let first = servers.create_database("shared_first").await.expect("made");
    postgres(&first, "create table tea (kind text); insert into tea values ('green')")
        .await
        .expect("stored");
    let copy = servers.copy_database("shared_copy", "shared_first").await;
    let copy = match copy {
        Ok(url) => url,
        // The server may not have closed the connection above yet.
        Err(_) => servers.copy_database("shared_copy", "shared_first").await.expect("made"),
    };
    assert_eq!(postgres(&copy, "select * from tea").await.expect("asked"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_of_a_process_is_shared_with_and_without_postgres() {
    let redis = SharedRedis::get().await.expect("up");
    let servers = SharedServers::get().await.expect("up");
    assert_eq!(servers.redis_url(), redis.url());
    assert_eq!(servers.stack().env().pids(ProcessKind::Redis).len(), 1);
}
