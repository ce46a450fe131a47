//! `mayfly simulate plays` on a supervised stack.

use std::{collections::BTreeMap, path::PathBuf};

use mayfly_stack::Service;
use mayfly_tests::{eventually, send_signal};
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::UnixStream,
    process::{Child, ChildStderr},
    time::timeout,
};

use crate::operations::stack_dir::{COMMAND_TIMEOUT, CommandOutput, StackDir};

impl StackDir {
    fn report(&self) -> PathBuf {
        self.root.path().join("report.jsonl")
    }

    /// Returns the state that a simulation must restore, from `mayfly status` and the supervisor.
    async fn state(&self) -> State {
        let table = self.run(&["status"]).await.stdout;
        let names = |state: &str| -> Vec<String> {
            let lines = table.lines().filter(|line| line.ends_with(&format!(" {state}")));
            lines.filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect()
        };
        let is_worker = |name: &&String| name.starts_with("persist-worker");
        let workers = names("ready").iter().filter(is_worker).count();
        let socket = self.root.path().join(".mayfly/control.sock");
        let mut socket =
            BufReader::new(UnixStream::connect(socket).await.expect("a supervisor listens"));
        socket.write_all(b"\"spec\"\n").await.expect("the request is sent");
        let mut reply = String::new();
        socket.read_line(&mut reply).await.expect("the supervisor replies");
        let mut reply: Value = serde_json::from_str(&reply).expect("valid JSON");
        State { workers, stopped: names("stopped"), spec: reply["spec"].take() }
    }

    /// Starts a run and returns when its first plays are queued and the workers are stopped.
    async fn hold_workers(&self) -> (Child, Lines<BufReader<ChildStderr>>) {
        let options = ["simulate", "plays", "--messages", "1000000", "--videos", "10"];
        let mut child = self
            .command(&[&options[..], &["--interval", "2", "--consumers", "2"]].concat())
            .spawn()
            .expect("the command starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("the stream is piped")).lines();
        let queued = async {
            while let Some(line) = stderr.next_line().await.expect("valid UTF-8") {
                if line.ends_with("plays queued") {
                    return;
                }
            }
            panic!("the command exited before any play was queued");
        };
        timeout(COMMAND_TIMEOUT, queued).await.expect("plays are queued in time");
        (child, stderr)
    }

    async fn count(&self, query: &str) -> i64 {
        let url = self.env().database_url().to_owned();
        let (client, connection) =
            tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("Postgres responds");
        let connection = tokio::spawn(connection);
        let count = client.query_one(query, &[]).await.expect("the query works").get(0);
        connection.abort();
        count
    }

    /// Returns the number of videos in all keys of play counts.
    async fn count_in_redis(&self) -> usize {
        let client = redis::Client::open(self.env().redis_url()).expect("a valid address");
        let mut redis = client.get_multiplexed_async_connection().await.expect("Redis responds");
        let mut count = 0;
        for (command, name) in [
            ("ZCARD", "counts"),
            ("HLEN", "updated"),
            ("HLEN", "published"),
            ("SCARD", "soon"),
            ("SCARD", "due"),
            ("SCARD", "due:now"),
        ] {
            let key = format!("mayfly:{{0}}:plays:{name}");
            count += redis::cmd(command)
                .arg(key)
                .query_async::<usize>(&mut redis)
                .await
                .expect("Redis responds");
        }
        count
    }
}

/// The state of a stack.
#[derive(Debug, PartialEq)]
struct State {
    /// The number of ready workers.
    workers: usize,
    stopped: Vec<String>,
    spec: Value,
}

impl State {
    fn interval(&self) -> Option<&str> {
        self.spec["env"].get("MAYFLY_PLAYS__INTERVAL").and_then(Value::as_str)
    }
}

#[track_caller]
fn assert_printed(output: &CommandOutput, texts: &[&str]) {
    for text in texts {
        assert!(output.stdout.contains(text), "{text}: {output:?}");
    }
}

type Counts = BTreeMap<String, u64>;

/// Reads a report and checks that all counts agree. Returns the counts and the consumption.
fn read_report(path: &PathBuf) -> (Counts, Value) {
    let text = std::fs::read_to_string(path).expect("the report exists");
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("valid JSON")).collect();
    let names: Vec<&String> =
        lines.iter().flat_map(|line| line.as_object().expect("an object").keys()).collect();
    assert_eq!(names, ["produced", "counted", "published", "consumption"]);
    let counts = |line: usize, name: &str| -> Counts {
        serde_json::from_value(lines[line][name].clone()).expect("valid counts")
    };
    let produced = counts(0, "produced");
    assert_eq!((&produced, &produced), (&counts(1, "counted"), &counts(2, "published")));
    (produced, lines[3]["consumption"].clone())
}

fn assert_valid_consumption(consumption: &Value, mode: &str) {
    assert_eq!((&consumption["mode"], &consumption["messages"]), (&mode.into(), &2_000.into()));
    for name in ["seconds", "rate", "latest_ms", "average_ms", "p50_ms", "p99_ms"] {
        assert!(consumption[name].as_f64().is_some_and(|number| number > 0.0), "{consumption}");
    }
    assert!(consumption["frames"].as_u64().is_some_and(|frames| frames >= 1), "{consumption}");
}

#[tokio::test(flavor = "multi_thread")]
async fn produced_counted_and_published_plays_agree_and_the_stack_is_restored() {
    let stack = StackDir::new();
    let report = stack.report();
    let path = report.to_str().expect("valid UTF-8");
    let options = ["simulate", "plays", "--messages", "2000", "--videos", "10", "--seed", "7"];
    let options = [&options[..], &["--interval", "2", "--report", path]].concat();

    let down = stack.run(&options).await;
    assert_eq!((down.code, report.exists()), (Some(1), false), "{down:?}");
    assert!(down.stderr.contains("Mayfly is down") && down.stderr.contains("--start"), "{down:?}");

    let output = stack.run(&[&options[..], &["--start", "--consumers", "2"]].concat()).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    let videos = "10, 2 of them with fewer than 100 plays";
    assert_printed(&output, &["2000\n", videos, "2 persist-worker", "2 s\n", "backed up", "7\n"]);
    assert_printed(&output, &["all consumed: 2000 plays\n", "queued in ", "counted in "]);
    assert_printed(
        &output,
        &["consumption time: latest ", "produced = counted = published: 2000 plays of 10"],
    );
    assert!(output.stderr.contains("2000 of 2000 plays queued\n"), "{output:?}");
    assert!(output.stderr.contains("2000 of 2000 plays counted\n"), "{output:?}");
    let (counts, consumption) = read_report(&report);
    assert!(
        counts.keys().all(|video| video.starts_with("sim-") && video.len() == 40),
        "{counts:?}"
    );
    assert_eq!((counts.len(), counts.values().sum()), (10, 2_000_u64));
    assert_valid_consumption(&consumption, "backed_up");
    let started = stack.state().await;
    assert_eq!((started.workers, started.interval()), (1, None), "the state after `mayfly up`");

    stack.run(&["stop", "list-api"]).await;
    let before = stack.state().await;
    assert_eq!(before, State { stopped: vec!["list-api".to_owned()], ..started });
    let output = stack.run(&[&options[..], &["--live", "--consumers", "3"]].concat()).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_printed(&output, &["3 persist-worker", "live", "produced = counted = published"]);
    let (live, consumption) = read_report(&report);
    assert_valid_consumption(&consumption, "live");
    let sorted = |counts: &Counts| {
        let mut sorted: Vec<_> = counts.values().copied().collect();
        sorted.sort_unstable();
        sorted
    };
    assert_eq!(sorted(&live), sorted(&counts), "the same seed results in the same counts");
    assert!(live.keys().all(|video| !counts.contains_key(video)), "for other videos");

    assert_eq!(stack.state().await, before);

    interrupt(&stack, &options).await;
    assert_eq!(stack.state().await, before);

    // The interrupted run may also have left some videos.
    assert_eq!(stack.run(&["audit"]).await.code, Some(0));
    let videos = stack.count("SELECT count(*) FROM play_counts").await;
    assert!(videos >= 20, "{videos}");
    let reset = stack.run(&["simulate", "reset"]).await;
    let removed = format!("deleted {videos} simulated videos\n");
    assert_eq!((reset.code, reset.stdout), (Some(0), removed));
    assert_eq!(stack.count("SELECT count(*) FROM play_counts").await, 0);
    assert_eq!(stack.count("SELECT plays + videos FROM play_totals").await, 0);
    assert_eq!(stack.count_in_redis().await, 0);

    // A queued play of another client.
    stack.run(&["stop", "persist-worker"]).await;
    let ingest = stack.env().urls(Service::IngestApi).remove(0);
    let play = reqwest::Client::new().post(format!("{ingest}/v1/plays"));
    let play = play.json(&serde_json::json!({"video_id": "v"})).send().await.expect("a response");
    assert_eq!(play.status(), 202);
    let rejected = stack.run(&["simulate", "reset"]).await;
    assert_eq!(rejected.code, Some(1), "{rejected:?}");
    assert!(rejected.stderr.contains("1 play is still queued"), "{rejected:?}");
}

/// Interrupts a run before it produces plays and checks that it leaves no report.
async fn interrupt(stack: &StackDir, options: &[&str]) {
    let before = std::fs::read(stack.report()).expect("the report exists");
    let mut child = stack
        .command(&[options, &["--consumers", "4", "--live"]].concat())
        .spawn()
        .expect("the command starts");
    let mut lines = BufReader::new(child.stdout.take().expect("the stream is piped")).lines();
    let first =
        timeout(COMMAND_TIMEOUT, lines.next_line()).await.expect("a line is printed in time");
    assert!(first.expect("valid UTF-8").is_some_and(|line| line.starts_with("messages")));
    eventually(COMMAND_TIMEOUT, "workers are added", async || {
        match stack.env().pids(Service::PersistWorker) {
            pids if pids.len() > 1 => Ok(()),
            pids => Err(pids),
        }
    })
    .await;
    let second = stack.run(&["simulate", "reset"]).await;
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.stderr.contains("another simulation"), "{second:?}");
    send_signal(child.id().expect("the process is running"), Signal::SIGINT);
    let output =
        timeout(COMMAND_TIMEOUT, child.wait_with_output()).await.expect("the command exits");
    let output = CommandOutput::read(output.expect("the process can be awaited"));
    assert_eq!(output.code, Some(130), "{output:?}");
    assert!(output.stderr.contains("interrupted"), "{output:?}");
    assert_eq!(std::fs::read(stack.report()).expect("the report exists"), before);
    let entries = std::fs::read_dir(stack.root.path()).expect("the directory is readable");
    assert_eq!(entries.count(), 2, "the report and the stack's directory");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_workers_are_restarted_after_an_interrupted_or_killed_run() {
    let stack = StackDir::new();
    assert_eq!(stack.run(&["up"]).await.code, Some(0));
    stack.run(&["stop", "list-api"]).await;
    let before = stack.state().await;
    assert_eq!((before.workers, &before.stopped[..]), (1, &["list-api".to_owned()][..]));

    let (mut child, mut stderr) = stack.hold_workers().await;
    send_signal(child.id().expect("the process is running"), Signal::SIGINT);
    let exited = timeout(COMMAND_TIMEOUT, child.wait()).await.expect("the command exits");
    assert_eq!(exited.expect("the process can be awaited").code(), Some(130));
    let mut is_interrupted = false;
    while let Some(line) = stderr.next_line().await.expect("valid UTF-8") {
        assert!(!line.contains("plays counted"), "the workers are stopped: {line}");
        is_interrupted |= line.contains("interrupted");
    }
    assert!(is_interrupted);
    assert_eq!(stack.state().await, before);

    let (mut child, _) = stack.hold_workers().await;
    child.kill().await.expect("the process is killed");
    let remaining = stack.state().await;
    assert_eq!((remaining.workers, remaining.interval()), (0, Some("2s")), "{remaining:?}");
    assert_eq!(remaining.stopped, ["persist-worker", "persist-worker-2"]);
    let options = ["simulate", "plays", "--messages", "2000", "--videos", "10", "--live"];
    let output = stack.run(&[&options[..], &["--interval", "2"]].concat()).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.stderr.contains("a killed simulation"), "{output:?}");
    assert_eq!(stack.state().await, before);
    assert!(!stack.root.path().join(".mayfly/simulate.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_options_are_rejected_before_anything_is_changed() {
    let stack = StackDir::new();
    for (options, code, reason) in [
        (vec!["--messages", "999", "--videos", "10", "--start"], 1, "use --messages 1000 or more"),
        (vec!["--messages", "1000001", "--start"], 1, "MAYFLY_QUEUE__DEPTH_MAX"),
        (vec!["--report", "none/report", "--start"], 1, "none/report"),
        (vec!["--report", ".", "--start"], 1, "not a regular file"),
        (vec!["--messages", "0"], 2, "from 1 to 10000000"),
        (vec!["--videos", "10001"], 2, "from 1 to 10000"),
        (vec!["--consumers", "0"], 2, "from 1 to 64"),
        (vec!["--interval", "250ms"], 2, "from 1 to 3600"),
    ] {
        let output = stack.run(&[&["simulate", "plays"], &options[..]].concat()).await;
        assert_eq!((output.code, &*output.stdout), (Some(code), ""), "{options:?}: {output:?}");
        assert!(output.stderr.contains(reason), "{options:?}: {output:?}");
    }
    assert!(!stack.root.path().join(".mayfly/stack.env").exists(), "nothing was started");
    let reset = stack.run(&["simulate", "reset"]).await;
    assert_eq!(reset.code, Some(1), "{reset:?}");
    assert!(reset.stderr.contains("Mayfly is down"), "{reset:?}");
}
