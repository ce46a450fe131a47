//! What happens to Redis, Postgres and S3.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use mayfly_stack::{Part, Service, SharedServers, Spec, Stack};
use nix::sys::signal::Signal;

use crate::house::{House, eventually, is_running, send};

const SERVERS: [Part; 3] = [Part::Redis, Part::Postgres, Part::S3];

/// One command to Redis, and the first line of its answer.
fn redis(url: &str, command: &str) -> String {
    let mut stream = TcpStream::connect(url.trim_start_matches("redis://")).expect("Redis listens");
    write!(stream, "{command}\r\n").expect("sent");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("answered");
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
async fn a_stack_brings_its_servers_and_leaves_none_behind() {
    let house = House::new();
    let stack = Stack::up(house.spec()).await.expect("ready");
    let env = stack.env();
    let pids: Vec<_> = SERVERS.iter().flat_map(|server| env.pids(*server)).collect();
    assert_eq!(pids.len(), 3);
    assert_eq!(redis(env.redis_url(), "CONFIG GET appendonly").as_str(), "*2");
    assert_eq!(postgres(env.database_url(), "select 1").await.expect("asked"), 1);
    let told = std::fs::read_to_string(house.dir.path().join(".mayfly/logs/migrate.log"))
        .expect("migrated");
    assert_eq!(told.trim(), env.database_url());
    stack.down().await.expect("down");
    assert!(pids.iter().all(|pid| !is_running(*pid)));
}

#[tokio::test]
async fn data_outlives_a_stop_and_a_kill() {
    let house = House::new();
    let stack =
        Stack::up(Spec { root: house.dir.path().into(), ..Spec::servers_only(house.dir.path()) })
            .await
            .expect("ready");
    let env = stack.env();
    assert_eq!(redis(env.redis_url(), "SET tea green"), "+OK");
    postgres(env.database_url(), "create table tea (kind text); insert into tea values ('green')")
        .await
        .expect("stored");
    for part in [Part::Redis, Part::Postgres] {
        stack.stop(part).await.expect("down");
        assert!(stack.env().pids(part).is_empty());
        stack.start(part).await.expect("up");
        let killed = stack.env().pids(part)[0];
        send(killed, Signal::SIGKILL);
        eventually("another process", || {
            stack.env().pids(part).first().is_some_and(|pid| *pid != killed)
        })
        .await;
        stack.start(part).await.expect("up");
    }
    assert_eq!(redis(env.redis_url(), "EXISTS tea"), ":1");
    assert_eq!(postgres(env.database_url(), "select * from tea").await.expect("asked"), 1);
}

#[tokio::test]
async fn a_service_is_up_when_it_is_live_while_a_server_is_stopped() {
    let house = House::new();
    let spec = Spec { without_s3: true, ..house.spec() };
    let stack = Stack::up(spec.clone()).await.expect("ready");
    stack.stop(Part::Redis).await.expect("down");
    let unready = spec.clone().with_env("MAYFLY_FAKE__UNREADY", "list-api");
    let unready = Spec { ready_within: std::time::Duration::ZERO, ..unready };
    let named = stack.apply(unready).await.expect_err("not ready at once").to_string();
    assert!(named.contains("list-api"), "{named}");
    stack.stop(Part::Redis).await.expect("down");
    stack.stop(Service::ListApi).await.expect("down");
    stack.start(Service::ListApi).await.expect("it is live");
}

#[tokio::test]
async fn the_shared_servers_make_databases() {
    let servers = SharedServers::get().await.expect("up");
    let first = servers.create_database("shared_first").await.expect("made");
    postgres(&first, "create table tea (kind text); insert into tea values ('green')")
        .await
        .expect("stored");
    let copy = servers.copy_database("shared_copy", "shared_first").await;
    let copy = match copy {
        Ok(url) => url,
        // The server may not have noticed yet that the connection above is gone.
        Err(_) => servers.copy_database("shared_copy", "shared_first").await.expect("made"),
    };
    assert_eq!(postgres(&copy, "select * from tea").await.expect("asked"), 1);
}
