//! `mayfly simulate`: sample messages into a Mayfly, and a walk through all of it.

mod server;

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

use server::serve;

const SETTLE: Duration = Duration::from_secs(30);
/// How long a command may take here.
const SOON: Duration = Duration::from_secs(30);

/// What a command said, and its exit code.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    words: String,
    remarks: String,
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

async fn end(command: &mut Command) -> Said {
    let output = timeout(SOON, command.output()).await.expect("it ends in time");
    let output = output.expect("the command can be started");
    Said {
        code: output.status.code(),
        words: String::from_utf8(output.stdout).expect("it is text"),
        remarks: String::from_utf8(output.stderr).expect("it is text"),
    }
}

async fn simulate(world: &World, options: &[&str]) -> Said {
    end(&mut command(world, options)).await
}

async fn next_line<R: AsyncRead + Unpin>(lines: &mut Lines<BufReader<R>>) -> String {
    let line = timeout(SOON, lines.next_line()).await.expect("a line comes in time");
    line.expect("it is text").expect("it runs on")
}

#[track_caller]
fn assert_says(said: &Said, words: &[&str]) {
    for words in words {
        assert!(said.words.contains(words), "{words}: {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sample_messages_are_accepted_by_all_instances_in_turn_and_met_once_and_in_order() {
    let world = Setup::new().with(Service::IngestApi, 2).start().await;
    let options =
        ["messages", "--messages", "1501", "--batch", "50", "--users", "30", "--cities", "9"];
    let said = simulate(&world, &options).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    let requests = "31 requests of up to 50: median ";
    assert_says(
        &said,
        &["1501 of 1501 messages accepted in ", "/s\n", requests, "slowest ", "seed "],
    );
    assert!(said.remarks.contains("1501 of 1501 messages accepted\n"), "{said:?}");
    assert_eq!(world.settle(SETTLE).await.stored, 1_501);
    for (counted, expected) in [("city", 9), ("username", 30)] {
        let query = format!("SELECT count(DISTINCT {counted}) FROM messages");
        assert_eq!(world.count(&query).await, expected, "{counted}");
    }
    for url in world.stack.env().admin_urls(Service::IngestApi) {
        let metrics = world.http.get(format!("{url}/metrics")).send().await.expect("it answers");
        let metrics = metrics.text().await.expect("the answer ends");
        let counted = "mayfly_accepted_total{kind=\"messages\"}";
        let mut lines = metrics.lines().filter(|line| line.starts_with(counted));
        let accepted = lines.next().and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        assert!(accepted.is_some_and(|accepted| accepted >= 700.0), "{url}: {accepted:?}");
    }

    for (order, words) in [("asc", "in the order of persistence"), ("desc", "newest first")] {
        let said = simulate(&world, &["walk", "--limit", "10", "--order", order]).await;
        assert_eq!(said.code, Some(0), "{said:?}");
        let once = format!("each once and {words}; none was left out\n");
        assert_says(&said, &["1501 messages met on 151 pages of up to 10 in ", &once]);
        assert_says(&said, &["100 pages took: first ", "a page took: first "]);
        assert!(said.remarks.contains("1000 messages met\n"), "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_that_gives_what_postgres_does_not_know_fails() {
    let world = Setup::new().start().await;
    let empty = simulate(&world, &["walk"]).await;
    assert_eq!(empty.code, Some(0), "{empty:?}");
    assert_says(&empty, &["0 messages met on 1 pages"]);
    let written = simulate(&world, &["messages", "--messages", "20", "--seed", "5"]).await;
    assert_eq!(written.code, Some(0), "{written:?}");
    assert_says(&written, &["seed 5 makes"]);
    world.settle(SETTLE).await;

    let servers = SharedServers::get().await.expect("the shared servers start");
    let name = format!("{}_other", world.prefix);
    let other = servers.create_database(&name).await.expect("a database can be made");
    let migrated = Command::new(bin_dir().join("mayfly"))
        .arg("migrate")
        .env("DATABASE_URL", &other)
        .output()
        .await
        .expect("the command runs");
    assert!(migrated.status.success(), "{migrated:?}");
    let said = end(command(&world, &["walk"]).env("DATABASE_URL", &other)).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert_says(&said, &["20 messages met", "wrong: ", "20 are not in Postgres"]);
}

/// How a server lies about what is stored.
#[derive(Debug, Clone, Copy)]
enum Lie {
    /// The first page is the last.
    Ends,
    /// The walk begins with the second page.
    Skips,
    /// There is nothing.
    Denies,
}

/// Starts a server that passes on what list-api answers, but for a lie.
async fn start_liar(world: &World, lie: Lie) -> String {
    let (http, list) = (world.http.clone(), world.list(""));
    serve(move |path| {
        let (http, list) = (http.clone(), list.clone());
        async move {
            let get = async |path: &str| -> Value {
                let answer = http.get(format!("{list}{path}")).send().await;
                answer.expect("list-api answers").json().await.expect("it is JSON")
            };
            let mut page = get(&path).await;
            match lie {
                Lie::Ends => page["has_more"] = json!(false),
                Lie::Skips if !path.contains("cursor=") => {
                    let cursor = page["next_cursor"].as_str().expect("there is more");
                    page = get(&format!("{path}&cursor={cursor}")).await;
                }
                Lie::Skips => {}
                Lie::Denies => {
                    page = json!({"items": [], "next_cursor": null, "has_more": false});
                }
            }
            (200, page.to_string())
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_that_is_cut_short_at_either_end_fails() {
    let world = Setup::new().start().await;
    let written = simulate(&world, &["messages", "--messages", "300"]).await;
    assert_eq!(written.code, Some(0), "{written:?}");
    world.settle(SETTLE).await;
    for (lie, met) in [(Lie::Ends, 100), (Lie::Skips, 200), (Lie::Denies, 0)] {
        let liar = start_liar(&world, lie).await;
        for order in ["asc", "desc"] {
            let options = ["walk", "--limit", "100", "--order", order];
            let said = end(&mut command_at(&world, &liar, &options)).await;
            assert_eq!(said.code, Some(1), "{lie:?} {order}: {said:?}");
            let (met, left_out) = (format!("{met} messages met on "), 300 - met);
            assert_says(&said, &[&met, &format!(", {left_out} were left out\n")]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_says_what_is_still_queued_when_it_begins() {
    let world = Setup::new().start().await;
    world.stack.stop(Service::PersistWorker).await.expect("the worker stops");
    let written = simulate(&world, &["messages", "--messages", "30"]).await;
    assert_eq!(written.code, Some(0), "{written:?}");
    let said = simulate(&world, &["walk"]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_says(&said, &["30 messages are still queued", "0 messages met on "]);
    world.stack.start(Service::PersistWorker).await.expect("the worker starts");
    world.settle(SETTLE).await;
    let said = simulate(&world, &["walk"]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(!said.words.contains("queued") && !said.remarks.contains("queued"), "{said:?}");
    assert_says(&said, &["30 messages met on "]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_option_is_refused_with_its_name_and_the_rule() {
    for (options, rule) in [
        (["messages", "--messages", "0"], "from 1 to 100000000"),
        (["messages", "--messages", "many"], "from 1 to 100000000"),
        (["messages", "--batch", "0"], "from 1 to 1000"),
        (["messages", "--batch", "1001"], "from 1 to 1000"),
        (["messages", "--users", "0"], "from 1 to 10000000"),
        (["messages", "--cities", "-1"], "from 1 to 1000000"),
        (["messages", "--seed", "x"], "a whole number"),
        (["messages", "--url", "ftp://h"], "a URL with http://"),
        (["walk", "--limit", "1001"], "from 1 to 1000"),
        (["walk", "--order", "up"], "asc or desc"),
        (["walk", "--url", "https://h"], "a URL with http://"),
    ] {
        let mut command = Command::new(bin_dir().join("mayfly"));
        let said = end(command.arg("simulate").args(options)).await;
        assert_eq!(said.code, Some(2), "{options:?}: {said:?}");
        assert!(said.remarks.contains(options[1]), "{options:?}: {said:?}");
        assert!(said.remarks.contains(rule), "{options:?}: {said:?}");
        assert_eq!(said.words, "", "{options:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_asks_for_patience_gets_it_within_a_bound() {
    let world = Setup::new().set("MAYFLY_QUEUE__DEPTH_MAX", "600").start().await;
    world.stack.stop(Service::PersistWorker).await.expect("the worker stops");
    let options = ["messages", "--messages", "2000", "--batch", "500"];
    let mut child = command(&world, &options).spawn().expect("the command can be started");
    let mut remarks = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    while !next_line(&mut remarks).await.contains("503: overloaded") {}
    world.stack.start(Service::PersistWorker).await.expect("the worker starts");
    let output = timeout(SOON, child.wait_with_output()).await.expect("it ends in time");
    let output = output.expect("it can be waited for");
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{words}");
    assert!(words.contains("2000 of 2000 messages accepted"), "{words}");
    assert!(words.contains("of it waiting for the service"), "{words}");

    let limited = Setup::new().set("MAYFLY_LIMITS__MESSAGES", "100/day").start().await;
    let said = simulate(&limited, &["messages", "--messages", "200", "--batch", "40"]).await;
    assert_eq!(said.code, Some(1), "nobody waits for a day: {said:?}");
    assert_says(&said, &["80 of 200 messages accepted"]);
    assert!(said.remarks.contains("429: rate_limited"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_run_says_what_was_done_so_far() {
    let world = Setup::new().start().await;
    let options = ["messages", "--messages", "1000000", "--batch", "100", "--users", "100000"];
    let mut child = command(&world, &options).spawn().expect("the command can be started");
    eventually(SOON, "some are accepted", async || {
        let accepted = world.sum().await.accepted;
        if accepted > 0 { Ok(()) } else { Err(accepted) }
    })
    .await;
    send_signal(child.id().expect("it runs"), Signal::SIGINT);
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let first = next_line(&mut lines).await;
    let status = timeout(SOON, child.wait()).await.expect("it ends in time").expect("it ends");
    assert_eq!(status.code(), Some(130));
    let accepted = world.settle(SETTLE).await.accepted;
    assert!(first.starts_with(&format!("{accepted} of 1000000 messages accepted")), "{first}");
    assert!(accepted < 1_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_ends_with_a_signal_and_what_was_not_taken_is_known_not_to_be() {
    let world = World::shared().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let busy = serve(move |_path| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { (503, json!({"code": "overloaded", "detail": "later"}).to_string()) }
    })
    .await;
    for (url, why) in [(busy.as_str(), "503: overloaded"), ("http://127.0.0.1:9", "not reached")] {
        let mut command = command_at(&world, url, &["messages", "--messages", "500"]);
        let mut child = command.spawn().expect("the command can be started");
        let mut remarks = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let first = next_line(&mut remarks).await;
        assert!(first.contains(why) && first.contains("waiting for the service"), "{first}");
        if url == busy {
            eventually(SOON, "it is asked again and again", async || {
                let asked = asked.load(Ordering::SeqCst);
                if asked >= 3 { Ok(()) } else { Err(asked) }
            })
            .await;
        }
        send_signal(child.id().expect("it runs"), Signal::SIGINT);
        let last = next_line(&mut remarks).await;
        assert!(last.contains(why) && !last.contains("waiting"), "once a kind: {last}");
        let output = timeout(SOON, child.wait_with_output()).await.expect("it ends in time");
        let output = output.expect("it can be waited for");
        assert_eq!(output.status.code(), Some(130), "{why}");
        let words = String::from_utf8_lossy(&output.stdout);
        assert!(words.contains("0 of 500 messages accepted"), "{words}");
        assert!(words.contains("of it waiting for the service\n"), "{words}");
        assert!(!words.contains("accepted or not"), "{words}");
    }
}
