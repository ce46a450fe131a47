//! `mayfly simulate plays` on a stack that is supervised as an operator's is.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::PathBuf,
    process::{Output, Stdio},
    time::Duration,
};

use mayfly_stack::{Service, StackEnv};
use mayfly_tests::{bin_dir, eventually, send_signal};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::UnixStream,
    process::{Child, ChildStderr, Command},
    time::timeout,
};

/// How long a command may take here; the first starts servers.
const SOON: Duration = Duration::from_secs(60);
/// A stack has its ports within so many behind the first one.
const PORTS: u16 = 23;

/// A place for a stack of its own, which goes down with this however the test ends.
struct Checkout {
    root: TempDir,
    port_base: u16,
}

impl Checkout {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a directory can be made");
        Self { root, port_base: find_port_base() }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(bin_dir().join("mayfly"));
        command
            .args(words)
            .current_dir(self.root.path())
            .env("MAYFLY_PORT_BASE", self.port_base.to_string())
            .env_remove("SCALE")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn run(&self, words: &[&str]) -> Said {
        let output = timeout(SOON, self.command(words).output()).await.expect("it ends in time");
        Said::read(output.expect("the command can be started"))
    }

    fn report(&self) -> PathBuf {
        self.root.path().join("report.jsonl")
    }

    fn env(&self) -> StackEnv {
        StackEnv::read(&self.root.path().join(".mayfly/stack.env")).expect("a stack was started")
    }

    /// What a simulation has to put back, by the table that operators see and the words of the supervisor.
    async fn state(&self) -> State {
        let table = self.run(&["status"]).await.words;
        let names = |state: &str| -> Vec<String> {
            let lines = table.lines().filter(|line| line.ends_with(&format!(" {state}")));
            lines.filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect()
        };
        let is_worker = |name: &&String| name.starts_with("persist-worker");
        let workers = names("ready").iter().filter(is_worker).count();
        let socket = self.root.path().join(".mayfly/control.sock");
        let mut socket =
            BufReader::new(UnixStream::connect(socket).await.expect("a supervisor listens"));
        socket.write_all(b"\"spec\"\n").await.expect("it takes a request");
        let mut reply = String::new();
        socket.read_line(&mut reply).await.expect("it replies");
        let mut reply: Value = serde_json::from_str(&reply).expect("it is JSON");
        State { workers, stopped: names("stopped"), spec: reply["spec"].take() }
    }

    /// Starts a run and returns while its first plays are queued, and workers are held.
    async fn hold_workers(&self) -> (Child, Lines<BufReader<ChildStderr>>) {
        let options = ["simulate", "plays", "--messages", "1000000", "--videos", "10"];
        let mut child = self
            .command(&[&options[..], &["--interval", "2", "--consumers", "2"]].concat())
            .spawn()
            .expect("the command can be started");
        let mut remarks = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let queued = async {
            while let Some(line) = remarks.next_line().await.expect("it is text") {
                if line.ends_with("plays queued") {
                    return;
                }
            }
            panic!("it ended before any play was queued");
        };
        timeout(SOON, queued).await.expect("plays are queued in time");
        (child, remarks)
    }

    async fn count(&self, query: &str) -> i64 {
        let url = self.env().database_url().to_owned();
        let (client, connection) =
            tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("Postgres answers");
        let connection = tokio::spawn(connection);
        let count = client.query_one(query, &[]).await.expect("the query is sound").get(0);
        connection.abort();
        count
    }

    /// The videos that Redis knows by any of what it knows of counts.
    async fn count_in_redis(&self) -> usize {
        let client = redis::Client::open(self.env().redis_url()).expect("it is an address");
        let mut redis = client.get_multiplexed_async_connection().await.expect("Redis answers");
        let mut known = 0;
        for (command, name) in [
            ("ZCARD", "counts"),
            ("HLEN", "updated"),
            ("HLEN", "published"),
            ("SCARD", "soon"),
            ("SCARD", "due"),
            ("SCARD", "due:now"),
        ] {
            let key = format!("mayfly:{{0}}:plays:{name}");
            known += redis::cmd(command)
                .arg(key)
                .query_async::<usize>(&mut redis)
                .await
                .expect("Redis answers");
        }
        known
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let mut reset = std::process::Command::new(bin_dir().join("mayfly"));
        let reset = reset.arg("reset").current_dir(self.root.path()).stdout(Stdio::null()).status();
        assert!(
            std::thread::panicking() || reset.is_ok_and(|status| status.success()),
            "the stack goes down"
        );
    }
}

/// How a stack is.
#[derive(Debug, PartialEq)]
struct State {
    /// How many workers are ready.
    workers: usize,
    stopped: Vec<String>,
    spec: Value,
}

impl State {
    fn interval(&self) -> Option<&str> {
        self.spec["env"].get("MAYFLY_PLAYS__INTERVAL").and_then(Value::as_str)
    }
}

/// A first port behind which nobody listens.
fn find_port_base() -> u16 {
    let is_free = |base: &u16| {
        (*base..*base + PORTS).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok())
    };
    std::iter::repeat_with(|| fastrand::u16(12_000..19_900))
        .take(100)
        .find(is_free)
        .expect("some ports are free")
}

/// What a command said, and its exit code.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    words: String,
    remarks: String,
}

impl Said {
    fn read(output: Output) -> Self {
        Self {
            code: output.status.code(),
            words: String::from_utf8(output.stdout).expect("it is text"),
            remarks: String::from_utf8(output.stderr).expect("it is text"),
        }
    }
}

#[track_caller]
fn assert_says(said: &Said, words: &[&str]) {
    for words in words {
        assert!(said.words.contains(words), "{words}: {said:?}");
    }
}

type Counts = BTreeMap<String, u64>;

/// Reads a report; gives the counts, which all agree, and how they were counted.
fn read_report(path: &PathBuf) -> (Counts, Value) {
    let text = std::fs::read_to_string(path).expect("there is a report");
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect();
    let names: Vec<&String> =
        lines.iter().flat_map(|line| line.as_object().expect("it is an object").keys()).collect();
    assert_eq!(names, ["produced", "counted", "published", "consumption"]);
    let counts = |line: usize, name: &str| -> Counts {
        serde_json::from_value(lines[line][name].clone()).expect("they are counts")
    };
    let produced = counts(0, "produced");
    assert_eq!((&produced, &produced), (&counts(1, "counted"), &counts(2, "published")));
    (produced, lines[3]["consumption"].clone())
}

fn assert_is_consumption(consumption: &Value, mode: &str) {
    assert_eq!((&consumption["mode"], &consumption["messages"]), (&mode.into(), &2_000.into()));
    for name in ["seconds", "rate", "latest_ms", "average_ms", "p50_ms", "p99_ms"] {
        assert!(consumption[name].as_f64().is_some_and(|number| number > 0.0), "{consumption}");
    }
    assert!(consumption["frames"].as_u64().is_some_and(|frames| frames >= 1), "{consumption}");
}

#[tokio::test(flavor = "multi_thread")]
async fn plays_are_counted_and_published_as_they_were_produced_and_the_stack_is_put_back() {
    let checkout = Checkout::new();
    let report = checkout.report();
    let path = report.to_str().expect("it is text");
    let options = ["simulate", "plays", "--messages", "2000", "--videos", "10", "--seed", "7"];
    let options = [&options[..], &["--interval", "2", "--report", path]].concat();

    let down = checkout.run(&options).await;
    assert_eq!((down.code, report.exists()), (Some(1), false), "{down:?}");
    assert!(
        down.remarks.contains("Mayfly is down") && down.remarks.contains("--start"),
        "{down:?}"
    );

    let said = checkout.run(&[&options[..], &["--start", "--consumers", "2"]].concat()).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    let videos = "10, 2 of them with fewer than 100 plays";
    assert_says(&said, &["2000\n", videos, "2 persist-worker", "2 s\n", "backed up", "7\n"]);
    assert_says(&said, &["all consumed: 2000 plays\n", "queued in ", "counted in "]);
    assert_says(
        &said,
        &["a play waited: latest ", "produced = counted = published: 2000 plays of 10"],
    );
    assert!(said.remarks.contains("2000 of 2000 plays queued\n"), "{said:?}");
    assert!(said.remarks.contains("2000 of 2000 plays counted\n"), "{said:?}");
    let (counts, consumption) = read_report(&report);
    assert!(
        counts.keys().all(|video| video.starts_with("sim-") && video.len() == 40),
        "{counts:?}"
    );
    assert_eq!((counts.len(), counts.values().sum()), (10, 2_000_u64));
    assert_is_consumption(&consumption, "backed_up");
    let started = checkout.state().await;
    assert_eq!((started.workers, started.interval()), (1, None), "as `mayfly up` starts it");

    checkout.run(&["stop", "list-api"]).await;
    let before = checkout.state().await;
    assert_eq!(before, State { stopped: vec!["list-api".to_owned()], ..started });
    let said = checkout.run(&[&options[..], &["--live", "--consumers", "3"]].concat()).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_says(&said, &["3 persist-worker", "live", "produced = counted = published"]);
    let (live, consumption) = read_report(&report);
    assert_is_consumption(&consumption, "live");
    let sorted = |counts: &Counts| {
        let mut sorted: Vec<_> = counts.values().copied().collect();
        sorted.sort_unstable();
        sorted
    };
    assert_eq!(sorted(&live), sorted(&counts), "the same seed makes the same counts");
    assert!(live.keys().all(|video| !counts.contains_key(video)), "of other videos");

    assert_eq!(checkout.state().await, before);

    interrupt(&checkout, &options).await;
    assert_eq!(checkout.state().await, before);

    // What was interrupted may have left some, too.
    assert_eq!(checkout.run(&["audit"]).await.code, Some(0));
    let videos = checkout.count("SELECT count(*) FROM play_counts").await;
    assert!(videos >= 20, "{videos}");
    let reset = checkout.run(&["simulate", "reset"]).await;
    let removed = format!("removed {videos} videos of simulations\n");
    assert_eq!((reset.code, reset.words), (Some(0), removed));
    assert_eq!(checkout.count("SELECT count(*) FROM play_counts").await, 0);
    assert_eq!(checkout.count("SELECT plays + videos FROM play_totals").await, 0);
    assert_eq!(checkout.count_in_redis().await, 0);

    // Somebody else's play that waits.
    checkout.run(&["stop", "persist-worker"]).await;
    let ingest = checkout.env().urls(Service::IngestApi).remove(0);
    let play = reqwest::Client::new().post(format!("{ingest}/v1/plays"));
    let play = play.json(&serde_json::json!({"video_id": "v"})).send().await.expect("it answers");
    assert_eq!(play.status(), 202);
    let refused = checkout.run(&["simulate", "reset"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.remarks.contains("1 play is still queued"), "{refused:?}");
}

/// Interrupts a run before anything is produced; no report is left.
async fn interrupt(checkout: &Checkout, options: &[&str]) {
    let before = std::fs::read(checkout.report()).expect("there is a report");
    let mut child = checkout
        .command(&[options, &["--consumers", "4", "--live"]].concat())
        .spawn()
        .expect("the command can be started");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let first = timeout(SOON, lines.next_line()).await.expect("a line comes in time");
    assert!(first.expect("it is text").is_some_and(|line| line.starts_with("messages")));
    eventually(SOON, "workers are added", async || {
        match checkout.env().pids(Service::PersistWorker) {
            pids if pids.len() > 1 => Ok(()),
            pids => Err(pids),
        }
    })
    .await;
    let second = checkout.run(&["simulate", "reset"]).await;
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.remarks.contains("another simulation"), "{second:?}");
    send_signal(child.id().expect("it runs"), Signal::SIGINT);
    let output = timeout(SOON, child.wait_with_output()).await.expect("it ends in time");
    let said = Said::read(output.expect("it can be waited for"));
    assert_eq!(said.code, Some(130), "{said:?}");
    assert!(said.remarks.contains("interrupted"), "{said:?}");
    assert_eq!(std::fs::read(checkout.report()).expect("there is a report"), before);
    let entries = std::fs::read_dir(checkout.root.path()).expect("it can be listed");
    assert_eq!(entries.count(), 2, "the report, and what belongs to the stack");
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_were_held_run_again_after_a_run_that_was_interrupted_or_killed() {
    let checkout = Checkout::new();
    assert_eq!(checkout.run(&["up"]).await.code, Some(0));
    checkout.run(&["stop", "list-api"]).await;
    let before = checkout.state().await;
    assert_eq!((before.workers, &before.stopped[..]), (1, &["list-api".to_owned()][..]));

    let (mut child, mut remarks) = checkout.hold_workers().await;
    send_signal(child.id().expect("it runs"), Signal::SIGINT);
    let ended = timeout(SOON, child.wait()).await.expect("it ends in time");
    assert_eq!(ended.expect("it can be waited for").code(), Some(130));
    let mut is_interrupted = false;
    while let Some(line) = remarks.next_line().await.expect("it is text") {
        assert!(!line.contains("plays counted"), "workers were held: {line}");
        is_interrupted |= line.contains("interrupted");
    }
    assert!(is_interrupted);
    assert_eq!(checkout.state().await, before);

    let (mut child, _) = checkout.hold_workers().await;
    child.kill().await.expect("it can be killed");
    let left = checkout.state().await;
    assert_eq!((left.workers, left.interval()), (0, Some("2s")), "{left:?}");
    assert_eq!(left.stopped, ["persist-worker", "persist-worker-2"]);
    let options = ["simulate", "plays", "--messages", "2000", "--videos", "10", "--live"];
    let said = checkout.run(&[&options[..], &["--interval", "2"]].concat()).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.remarks.contains("a simulation that was killed"), "{said:?}");
    assert_eq!(checkout.state().await, before);
    assert!(!checkout.root.path().join(".mayfly/simulate.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_simulated_is_refused_before_anything_is_touched() {
    let checkout = Checkout::new();
    for (options, code, why) in [
        (vec!["--messages", "999", "--videos", "10", "--start"], 1, "give --messages 1000 or more"),
        (vec!["--messages", "1000001", "--start"], 1, "MAYFLY_QUEUE__DEPTH_MAX"),
        (vec!["--report", "none/report", "--start"], 1, "none/report"),
        (vec!["--report", ".", "--start"], 1, "no file"),
        (vec!["--messages", "0"], 2, "from 1 to 10000000"),
        (vec!["--videos", "10001"], 2, "from 1 to 10000"),
        (vec!["--consumers", "0"], 2, "from 1 to 64"),
        (vec!["--interval", "250ms"], 2, "from 1 to 3600"),
    ] {
        let said = checkout.run(&[&["simulate", "plays"], &options[..]].concat()).await;
        assert_eq!((said.code, &*said.words), (Some(code), ""), "{options:?}: {said:?}");
        assert!(said.remarks.contains(why), "{options:?}: {said:?}");
    }
    assert!(!checkout.root.path().join(".mayfly/stack.env").exists(), "nothing was started");
    let reset = checkout.run(&["simulate", "reset"]).await;
    assert_eq!(reset.code, Some(1), "{reset:?}");
    assert!(reset.remarks.contains("Mayfly is down"), "{reset:?}");
}
