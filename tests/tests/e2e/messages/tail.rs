//! `mayfly tail`: the live feed in a terminal.

use std::{
    fs,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use mayfly_auth::LEEWAY_S;
use mayfly_core::{Clock as _, SystemClock};
use mayfly_stack::Service;
use mayfly_tests::{Setup, World, bin_dir, send_signal};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout, Command},
    time::timeout,
};

use crate::access::{self, create_operator, credentials::SECRET};

/// How long the command may take to print a line or to exit.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(30);

fn setup() -> Setup {
    Setup::new().scale(Service::WsFanout, 1)
}

/// The running command.
struct Tail {
    child: Child,
    stdout: Option<Lines<BufReader<ChildStdout>>>,
    stderr: Lines<BufReader<ChildStderr>>,
}

impl Tail {
    /// Starts the command and returns when it is connected.
    async fn start(world: &World, options: &[&str]) -> Self {
        let mut tail = Self::launch(&world.url(Service::WsFanout, ""), options);
        tail.wait_for_stderr("connected to ").await;
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
            .expect("the command starts");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let stderr = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        Self { child, stdout: Some(stdout), stderr }
    }

    async fn next(&mut self) -> String {
        next_line(self.stdout.as_mut().expect("stdout is open")).await
    }

    fn stop_reading(&mut self) {
        self.stdout = None;
    }

    async fn wait_for_stderr(&mut self, text: &str) -> String {
        loop {
            let line = next_line(&mut self.stderr).await;
            if line.contains(text) {
                return line;
            }
        }
    }

    async fn wait(&mut self) -> ExitStatus {
        let exited = timeout(OUTPUT_TIMEOUT, self.child.wait()).await.expect("the command exits");
        exited.expect("the process can be awaited")
    }

    fn send(&self, signal: Signal) {
        send_signal(self.child.id().expect("the process is running"), signal);
    }
}

async fn next_line<R: AsyncRead + Unpin>(lines: &mut Lines<BufReader<R>>) -> String {
    let line = timeout(OUTPUT_TIMEOUT, lines.next_line()).await.expect("a line is printed in time");
    line.expect("valid UTF-8").expect("the process keeps running")
}

#[tokio::test(flavor = "multi_thread")]
async fn message_is_one_line_with_escaped_control_characters() {
    let world = setup().start().await;
    let mut tail = Tail::start(&world, &["--channel", "a", "--channel", "b"]).await;
    world.post_message(&json!({"channel": "c", "text": "elsewhere"})).await;
    let sent = json!({"channel": "a", "username": "fred", "text": "Yo\u{1b}[2J\nwhat up!",
        "city": "New York", "state": "NY"});
    let message = world.post_message(&sent).await;
    let at = message["created_at"].as_str().expect("`created_at` is set");
    let line = format!(r"{at} a fred: Yo\u{{1b}}[2J\nwhat up! (New York, NY)");
    assert_eq!(tail.next().await, line);
    let message = world.post_message(&json!({"channel": "b", "data": {"b": 1.0}})).await;
    let at = message["created_at"].as_str().expect("`created_at` is set");
    assert_eq!(tail.next().await, format!(r#"{at} b -: {{"b":1.0}}"#));

    tail.send(Signal::SIGINT);
    assert!(tail.wait().await.success(), "SIGINT is not an error");
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_resumes_after_ws_fanout_is_killed() {
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
        tail.wait_for_stderr("reconnecting").await;
        tail.wait_for_stderr("resumed").await;
        post("after").await;
        for when in ["during", "after"] {
            assert!(tail.next().await.ends_with(&format!("{when} {round}")));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_option_prints_frames() {
    let world = setup().start().await;
    let mut tail = Tail::start(&world, &["--json"]).await;
    let sent = json!({"username": "fred", "text": "Yo\u{1b}[2J", "data": {"b": 1.0, "a": []}});
    let message = world.post_message(&sent).await;
    let frame: Value = serde_json::from_str(&tail.next().await).expect("a line is JSON");
    let position = frame["position"].as_str().expect("`position` is set");
    assert_eq!(frame, json!({"type": "message", "position": position, "message": message}));
    world.take("fred").await;
    let frame: Value = serde_json::from_str(&tail.next().await).expect("a line is JSON");
    assert_eq!((&frame["type"], &frame["ids"]), (&json!("expired"), &json!([message["id"]])));
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_exits_quietly_on_closed_stdout_and_with_an_error_when_rejected() {
    let world = setup().start().await;
    let mut tail = Tail::start(&world, &[]).await;
    tail.stop_reading();
    assert!(tail.wait().await.success());

    let names: Vec<String> = (0..129).map(|number| format!("channel-{number}")).collect();
    let options: Vec<&str> = names.iter().flat_map(|name| ["--channel", name]).collect();
    let mut tail = Tail::launch(&world.url(Service::WsFanout, ""), &options);
    tail.wait_for_stderr("4501").await;
    assert_eq!(tail.wait().await.code(), Some(1));
}

/// Signs a token that the services accept for this time.
fn sign_token(lifetime_s: i64) -> String {
    let now_s = SystemClock.now().as_millis() / 1_000;
    let times = now_s - 60..now_s - LEEWAY_S + lifetime_s;
    let rights = json!({"subscribe": ["tail-*"]});
    mayfly_tests::sign_token(SECRET, "fred", None, times, &rights)
}

async fn post_with_key(world: &World, key: &str, channel: &str, text: &str) {
    let message = json!({"channel": channel, "text": text});
    let post = world.http.post(world.ingest_url("/v1/messages")).bearer_auth(key).json(&message);
    assert_eq!(post.send().await.expect("ingest-api responds").status(), 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn key_file_authorizes_the_connection() {
    let world = access::shared().await;
    let url = world.url(Service::WsFanout, "");
    let mut rejected = Tail::launch(&url, &[]);
    let line = rejected.wait_for_stderr("4502").await;
    assert!(line.contains("--key-file"), "{line}");
    assert_eq!(rejected.wait().await.code(), Some(1));

    let key = create_operator(&world).await;
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), format!("{key}\n")).expect("written");
    let path = file.path().to_str().expect("valid UTF-8");
    let mut tail = Tail::start(&world, &["--channel", "tail-key", "--key-file", path]).await;
    post_with_key(&world, &key, "tail-key", "with a key").await;
    assert!(tail.next().await.ends_with("with a key"));

    fs::write(file.path(), "mf_unknown").expect("written");
    let mut rejected = Tail::launch(&url, &["--key-file", path]);
    let line = rejected.wait_for_stderr("4502").await;
    assert!(line.contains("valid API key or token") && !line.contains("mf_"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn renewed_token_is_used_after_the_old_one_has_expired() {
    let world = access::shared().await;
    let key = create_operator(&world).await;
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), sign_token(6)).expect("written");
    let path = file.path().to_str().expect("valid UTF-8");
    let options = ["--channel", "tail-token", "--channel", "other", "--key-file", path];
    let mut tail = Tail::start(&world, &options).await;
    let line = tail.wait_for_stderr("rejected a part of the subscription").await;
    assert!(line.contains("forbidden") && line.contains("other"), "{line}");
    fs::write(file.path(), sign_token(600)).expect("written");
    tail.wait_for_stderr("4003").await;
    post_with_key(&world, &key, "tail-token", "in the meantime").await;
    tail.wait_for_stderr("resumed").await;
    assert!(tail.next().await.ends_with("in the meantime"));
}
