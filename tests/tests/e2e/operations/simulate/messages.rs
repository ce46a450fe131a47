//! `mayfly simulate messages` and `mayfly simulate walk`.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use mayfly_stack::{Service, SharedServers};
use mayfly_tests::{Setup, World, bin_dir, eventually, send_signal};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader, Lines},
    process::Command,
    time::timeout,
};

use super::server::serve;
use crate::access::{
    self,
    credentials::{NewKey, create_keys},
};

const PROCESS_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// The output and exit code of a command.
#[derive(Debug)]
struct CommandOutput {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn command(world: &World, options: &[&str]) -> Command {
    let service = if options[0] == "walk" { Service::ListApi } else { Service::IngestApi };
    command_at(world, &world.stack.env().urls(service).join(","), options)
}

fn command_at(world: &World, url: &str, options: &[&str]) -> Command {
    let env = world.stack.env();
    let mut command = Command::new(bin_dir().join("mayfly"));
    command
        .arg("simulate")
        .args(options)
        .args(["--url", url])
        .env("DATABASE_URL", env.database_url())
        .env("REDIS_URL", env.redis_url())
        .env("MAYFLY_REDIS__PREFIX", &world.prefix)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn run(command: &mut Command) -> CommandOutput {
    let output = timeout(COMMAND_TIMEOUT, command.output()).await.expect("the command exits");
    let output = output.expect("the command starts");
    CommandOutput {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("valid UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("valid UTF-8"),
    }
}

async fn simulate(world: &World, options: &[&str]) -> CommandOutput {
    run(&mut command(world, options)).await
}

async fn next_line<R: AsyncRead + Unpin>(lines: &mut Lines<BufReader<R>>) -> String {
    let line =
        timeout(COMMAND_TIMEOUT, lines.next_line()).await.expect("a line is printed in time");
    line.expect("valid UTF-8").expect("the process keeps running")
}

#[track_caller]
fn assert_printed(output: &CommandOutput, texts: &[&str]) {
    for text in texts {
        assert!(output.stdout.contains(text), "{text}: {output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn simulated_messages_are_spread_over_instances_and_listed_once_in_order() {
    let world = Setup::new().scale(Service::IngestApi, 2).start().await;
    let options =
        ["messages", "--messages", "1501", "--batch", "50", "--users", "30", "--cities", "9"];
    let output = simulate(&world, &options).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    let requests = "31 requests of up to 50: median ";
    assert_printed(
        &output,
        &["1501 of 1501 messages accepted in ", "/s\n", requests, "slowest ", "seed "],
    );
    assert!(output.stderr.contains("1501 of 1501 messages accepted\n"), "{output:?}");
    assert_eq!(world.wait_until_processed(PROCESS_TIMEOUT).await.stored, 1_501);
    for (counted, expected) in [("city", 9), ("username", 30)] {
        let query = format!("SELECT count(DISTINCT {counted}) FROM messages");
        assert_eq!(world.query_count(&query).await, expected, "{counted}");
    }
    for url in world.stack.env().admin_urls(Service::IngestApi) {
        let metrics = world.http.get(format!("{url}/metrics")).send().await.expect("a response");
        let metrics = metrics.text().await.expect("the response is complete");
        let counted = "mayfly_accepted_total{kind=\"messages\"}";
        let mut lines = metrics.lines().filter(|line| line.starts_with(counted));
        let accepted = lines.next().and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        assert!(accepted.is_some_and(|accepted| accepted >= 700.0), "{url}: {accepted:?}");
    }

    for (order, description) in [("asc", "oldest first"), ("desc", "newest first")] {
        let output = simulate(&world, &["walk", "--limit", "10", "--order", order]).await;
        assert_eq!(output.code, Some(0), "{output:?}");
        let once = format!("every message exactly once, {description}; none missing\n");
        assert_printed(&output, &["1501 messages read from 151 pages of up to 10 in ", &once]);
        assert_printed(&output, &["100 pages took: first ", "a page took: first "]);
        assert!(output.stderr.contains("1000 messages read\n"), "{output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn walk_fails_on_messages_that_are_not_in_postgres() {
    let world = Setup::new().start().await;
    let empty = simulate(&world, &["walk"]).await;
    assert_eq!(empty.code, Some(0), "{empty:?}");
    assert_printed(&empty, &["0 messages read from 1 pages"]);
    let written = simulate(&world, &["messages", "--messages", "20", "--seed", "5"]).await;
    assert_eq!(written.code, Some(0), "{written:?}");
    assert_printed(&written, &["--seed 5 "]);
    world.wait_until_processed(PROCESS_TIMEOUT).await;

    let servers = SharedServers::get().await.expect("the shared servers start");
    let name = format!("{}_other", world.prefix);
    let other = servers.create_database(&name).await.expect("the database is created");
    let migrated = Command::new(bin_dir().join("mayfly"))
        .arg("migrate")
        .env("DATABASE_URL", &other)
        .output()
        .await
        .expect("the command runs");
    assert!(migrated.status.success(), "{migrated:?}");
    let output = run(command(&world, &["walk"]).env("DATABASE_URL", &other)).await;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert_printed(&output, &["20 messages read", "failed: ", "20 unknown to Postgres"]);
}

/// A fault of a server's pagination.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The first page claims to be the last.
    EndsEarly,
    /// The first page is skipped.
    SkipsFirstPage,
    /// All pages are empty.
    Empty,
}

/// Starts a proxy of `list-api` with a fault.
async fn start_faulty_proxy(world: &World, fault: Fault) -> String {
    let (http, list) = (world.http.clone(), world.list_url(""));
    serve(move |path| {
        let (http, list) = (http.clone(), list.clone());
        async move {
            let get = async |path: &str| -> Value {
                let response = http.get(format!("{list}{path}")).send().await;
                response.expect("list-api responds").json().await.expect("valid JSON")
            };
            let mut page = get(&path).await;
            match fault {
                Fault::EndsEarly => page["has_more"] = json!(false),
                Fault::SkipsFirstPage if !path.contains("cursor=") => {
                    let cursor = page["next_cursor"].as_str().expect("the page has `next_cursor`");
                    page = get(&format!("{path}&cursor={cursor}")).await;
                }
                Fault::SkipsFirstPage => {}
                Fault::Empty => {
                    page = json!({"items": [], "next_cursor": null, "has_more": false});
                }
            }
            (200, page.to_string())
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn walk_fails_on_missing_messages() {
    let world = Setup::new().start().await;
    let written = simulate(&world, &["messages", "--messages", "300"]).await;
    assert_eq!(written.code, Some(0), "{written:?}");
    world.wait_until_processed(PROCESS_TIMEOUT).await;
    for (fault, listed) in
        [(Fault::EndsEarly, 100), (Fault::SkipsFirstPage, 200), (Fault::Empty, 0)]
    {
        let proxy = start_faulty_proxy(&world, fault).await;
        for order in ["asc", "desc"] {
            let options = ["walk", "--limit", "100", "--order", order];
            let output = run(&mut command_at(&world, &proxy, &options)).await;
            assert_eq!(output.code, Some(1), "{fault:?} {order}: {output:?}");
            let (listed, missing) = (format!("{listed} messages read from "), 300 - listed);
            assert_printed(&output, &[&listed, &format!(", {missing} missing\n")]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn walk_reports_queued_messages() {
    let world = Setup::new().start().await;
    world.stack.stop(Service::PersistWorker).await.expect("the worker stops");
    let written = simulate(&world, &["messages", "--messages", "30"]).await;
    assert_eq!(written.code, Some(0), "{written:?}");
    let output = simulate(&world, &["walk"]).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_printed(&output, &["30 messages are still queued", "0 messages read from "]);
    world.stack.start(Service::PersistWorker).await.expect("the worker starts");
    world.wait_until_processed(PROCESS_TIMEOUT).await;
    let output = simulate(&world, &["walk"]).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(!output.stdout.contains("queued") && !output.stderr.contains("queued"), "{output:?}");
    assert_printed(&output, &["30 messages read from "]);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_option_is_rejected_with_its_name_and_rule() {
    for (options, rule) in [
        (["messages", "--messages", "0"], "from 1 to 100000000"),
        (["messages", "--messages", "many"], "from 1 to 100000000"),
        (["messages", "--batch", "0"], "from 1 to 1000"),
        (["messages", "--batch", "1001"], "from 1 to 1000"),
        (["messages", "--users", "0"], "from 1 to 10000000"),
        (["messages", "--cities", "-1"], "from 1 to 1000000"),
        (["messages", "--seed", "x"], "expected an integer"),
        (["messages", "--url", "ftp://h"], "a URL that starts with http://"),
        (["walk", "--limit", "1001"], "from 1 to 1000"),
        (["walk", "--order", "up"], "asc or desc"),
        (["walk", "--url", "https://h"], "a URL that starts with http://"),
    ] {
        let mut command = Command::new(bin_dir().join("mayfly"));
        let output = run(command.arg("simulate").args(options)).await;
        assert_eq!(output.code, Some(2), "{options:?}: {output:?}");
        assert!(output.stderr.contains(options[1]), "{options:?}: {output:?}");
        assert!(output.stderr.contains(rule), "{options:?}: {output:?}");
        assert_eq!(output.stdout, "", "{options:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn simulation_honors_retry_after_within_a_limit() {
    let world = Setup::new().set("MAYFLY_QUEUE__DEPTH_MAX", "600").start().await;
    world.stack.stop(Service::PersistWorker).await.expect("the worker stops");
    let options = ["messages", "--messages", "2000", "--batch", "500"];
    let mut child = command(&world, &options).spawn().expect("the command starts");
    let mut stderr = BufReader::new(child.stderr.take().expect("the stream is piped")).lines();
    while !next_line(&mut stderr).await.contains("503: overloaded") {}
    world.stack.start(Service::PersistWorker).await.expect("the worker starts");
    let output =
        timeout(COMMAND_TIMEOUT, child.wait_with_output()).await.expect("the command exits");
    let output = output.expect("the process can be awaited");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}");
    assert!(stdout.contains("2000 of 2000 messages accepted"), "{stdout}");
    assert!(stdout.contains("spent waiting for the service"), "{stdout}");

    let limited = Setup::new().set("MAYFLY_LIMITS__MESSAGES", "100/day").start().await;
    let output = simulate(&limited, &["messages", "--messages", "200", "--batch", "40"]).await;
    assert_eq!(output.code, Some(1), "the command waited for a day: {output:?}");
    assert_printed(&output, &["80 of 200 messages accepted"]);
    assert!(output.stderr.contains("429: rate_limited"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_run_reports_its_progress() {
    let world = Setup::new().start().await;
    let options = ["messages", "--messages", "1000000", "--batch", "100", "--users", "100000"];
    let mut child = command(&world, &options).spawn().expect("the command starts");
    eventually(COMMAND_TIMEOUT, "messages are accepted", async || {
        let accepted = world.ledger_sums().await.accepted;
        if accepted > 0 { Ok(()) } else { Err(accepted) }
    })
    .await;
    send_signal(child.id().expect("the process is running"), Signal::SIGINT);
    let mut lines = BufReader::new(child.stdout.take().expect("the stream is piped")).lines();
    let first = next_line(&mut lines).await;
    let status = timeout(COMMAND_TIMEOUT, child.wait())
        .await
        .expect("the command exits")
        .expect("an exit status");
    assert_eq!(status.code(), Some(130));
    let accepted = world.wait_until_processed(PROCESS_TIMEOUT).await.accepted;
    assert!(first.starts_with(&format!("{accepted} of 1000000 messages accepted")), "{first}");
    assert!(accepted < 1_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn signal_ends_a_pause_and_rejected_messages_are_reported() {
    let world = World::shared().await;
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = requests.clone();
    let busy = serve(move |_path| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { (503, json!({"code": "overloaded", "detail": "later"}).to_string()) }
    })
    .await;
    for (url, reason) in
        [(busy.as_str(), "503: overloaded"), ("http://127.0.0.1:9", "cannot connect")]
    {
        let mut command = command_at(&world, url, &["messages", "--messages", "500"]);
        let mut child = command.spawn().expect("the command starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("the stream is piped")).lines();
        let first = next_line(&mut stderr).await;
        assert!(first.contains(reason) && first.contains("waiting for the service"), "{first}");
        if url == busy {
            eventually(COMMAND_TIMEOUT, "the request is retried", async || {
                let requests = requests.load(Ordering::SeqCst);
                if requests >= 3 { Ok(()) } else { Err(requests) }
            })
            .await;
        }
        send_signal(child.id().expect("the process is running"), Signal::SIGINT);
        let last = next_line(&mut stderr).await;
        assert!(
            last.contains(reason) && !last.contains("waiting"),
            "reported once per kind: {last}"
        );
        let output =
            timeout(COMMAND_TIMEOUT, child.wait_with_output()).await.expect("the command exits");
        let output = output.expect("the process can be awaited");
        assert_eq!(output.status.code(), Some(130), "{reason}");
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(stdout.contains("0 of 500 messages accepted"), "{stdout}");
        assert!(stdout.contains("spent waiting for the service\n"), "{stdout}");
        assert!(!stdout.contains("unknown outcome"), "{stdout}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn key_file_authorizes_the_requests() {
    let world = access::shared().await;
    let options = ["messages", "--messages", "10"];
    let output = simulate(&world, &options).await;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stderr.contains("the service returned 401: unauthorized"), "{output:?}");
    assert!(output.stderr.contains("--key-file"), "{output:?}");
    let publisher = NewKey { scopes: &["publish"], ..NewKey::default() };
    let key = create_keys(&world, &[publisher]).await.remove(0);
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), &key).expect("written");
    let output = run(command(&world, &options).env("MAYFLY_KEY_FILE", file.path())).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(!format!("{output:?}").contains(&key));
}
