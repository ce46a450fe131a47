//! `mayfly tail`: the live feed in a terminal.

use std::{
    process::{ExitStatus, Stdio},
    time::Duration,
};

use mayfly_stack::Service;
use mayfly_tests::{Setup, World, bin_dir, send_signal};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout, Command},
    time::timeout,
};

/// How long something may take to be shown.
const SOON: Duration = Duration::from_secs(30);

fn setup() -> Setup {
    Setup::new().with(Service::WsFanout, 1)
}

/// The command, running.
struct Tail {
    child: Child,
    shown: Option<Lines<BufReader<ChildStdout>>>,
    remarks: Lines<BufReader<ChildStderr>>,
}

impl Tail {
    /// Starts it; returns when it is connected.
    async fn start(world: &World, options: &[&str]) -> Self {
        let mut tail = Self::launch(&world.url(Service::WsFanout, ""), options);
        tail.wait_for_remark("connected to ").await;
        tail
    }

    fn launch(url: &str, options: &[&str]) -> Self {
        let mut child = Command::new(bin_dir().join("mayfly"))
            .args(["tail", "--url", url])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the command can be started");
        let shown = BufReader::new(child.stdout.take().expect("its output is piped")).lines();
        let remarks = BufReader::new(child.stderr.take().expect("its remarks are piped")).lines();
        Self { child, shown: Some(shown), remarks }
    }

    async fn next(&mut self) -> String {
        next_line(self.shown.as_mut().expect("it is read")).await
    }

    fn stop_reading(&mut self) {
        self.shown = None;
    }

    async fn wait_for_remark(&mut self, words: &str) -> String {
        loop {
            let line = next_line(&mut self.remarks).await;
            if line.contains(words) {
                return line;
            }
        }
    }

    async fn end(&mut self) -> ExitStatus {
        let ended = timeout(SOON, self.child.wait()).await.expect("it ends in time");
        ended.expect("it can be waited for")
    }

    fn send(&self, signal: Signal) {
        send_signal(self.child.id().expect("it still runs"), signal);
    }
}

async fn next_line<R: AsyncRead + Unpin>(lines: &mut Lines<BufReader<R>>) -> String {
    let line = timeout(SOON, lines.next_line()).await.expect("a line comes in time");
    line.expect("it is text").expect("it runs on")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_posted_message_is_a_line_and_steers_no_terminal() {
    let world = setup().start().await;
    let mut tail = Tail::start(&world, &["--channel", "a", "--channel", "b"]).await;
    world.post_message(&json!({"channel": "c", "text": "elsewhere"})).await;
    let sent = json!({"channel": "a", "username": "fred", "text": "Yo\u{1b}[2J\nwhat up!",
        "city": "New York", "state": "NY"});
    let message = world.post_message(&sent).await;
    let at = message["created_at"].as_str().expect("there is a time");
    let line = format!(r"{at} a fred: Yo\u{{1b}}[2J\nwhat up! (New York, NY)");
    assert_eq!(tail.next().await, line);
    let message = world.post_message(&json!({"channel": "b", "data": {"b": 1.0}})).await;
    let at = message["created_at"].as_str().expect("there is a time");
    assert_eq!(tail.next().await, format!(r#"{at} b -: {{"b":1.0}}"#));

    tail.send(Signal::SIGINT);
    assert!(tail.end().await.success(), "it was meant to end");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_where_it_was_when_ws_fanout_is_killed() {
    let world = setup().start().await;
    let mut tail = Tail::start(&world, &[]).await;
    let rounds = 3;
    for round in 0..rounds {
        let post = async |when| {
            world.post_message(&json!({"text": format!("{when} {round}"), "ttl": 60})).await;
        };
        post("before").await;
        assert!(tail.next().await.ends_with(&format!("before {round}")));
        let pids = world.stack.env().pids(Service::WsFanout);
        send_signal(pids[0], Signal::SIGKILL);
        post("during").await;
        tail.wait_for_remark("trying again").await;
        tail.wait_for_remark("resumed").await;
        post("after").await;
        for when in ["during", "after"] {
            assert!(tail.next().await.ends_with(&format!("{when} {round}")));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn for_programs_it_prints_the_frames() {
    let world = setup().start().await;
    let mut tail = Tail::start(&world, &["--json"]).await;
    let sent = json!({"username": "fred", "text": "Yo\u{1b}[2J", "data": {"b": 1.0, "a": []}});
    let message = world.post_message(&sent).await;
    let frame: Value = serde_json::from_str(&tail.next().await).expect("a line is JSON");
    let position = frame["position"].as_str().expect("there is a position");
    assert_eq!(frame, json!({"type": "message", "position": position, "message": message}));
    world.take("fred").await;
    let frame: Value = serde_json::from_str(&tail.next().await).expect("a line is JSON");
    assert_eq!((&frame["type"], &frame["ids"]), (&json!("expired"), &json!([message["id"]])));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_quietly_when_nobody_reads_and_aloud_when_it_is_refused() {
    let world = setup().start().await;
    let mut tail = Tail::start(&world, &[]).await;
    tail.stop_reading();
    assert!(tail.end().await.success());

    let names: Vec<String> = (0..129).map(|number| format!("channel-{number}")).collect();
    let options: Vec<&str> = names.iter().flat_map(|name| ["--channel", name]).collect();
    let mut tail = Tail::launch(&world.url(Service::WsFanout, ""), &options);
    tail.wait_for_remark("4501").await;
    assert_eq!(tail.end().await.code(), Some(1));
}
