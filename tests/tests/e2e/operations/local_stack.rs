//! `mayfly up`, `status` and `reset`, interrupted, killed and without the settings of the running
//! stack.

use std::{fs, path::Path, process::Stdio};

use mayfly_stack::{ProcessKind, Service, SharedServers};
use mayfly_tests::{DEFAULT_TIMEOUT, ServiceProcess, eventually, is_full, send_signal};
use nix::sys::signal::{SigHandler, Signal, signal};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream, UnixStream},
    process::Command,
    time::timeout,
};
use uuid::Uuid;

use super::stack_dir::{COMMAND_TIMEOUT, CommandOutput, StackDir};

const ONLY_INGEST: &str = "list-api=0 ws-fanout=0 persist-worker=0 stats-publisher=0";

/// Returns whether a process runs. A zombie does not.
fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}

/// Lets child processes receive SIGHUP, even if the tests run under `nohup`.
#[expect(unsafe_code, reason = "the only way to change the disposition of a signal")]
fn reset_sighup() {
    // SAFETY: no handler is installed.
    unsafe { signal(Signal::SIGHUP, SigHandler::SigDfl) }.expect("a valid disposition");
}

async fn wait_for_exit(pid: u32) {
    eventually(DEFAULT_TIMEOUT, "the process exits", async || {
        if is_running(pid) { Err(pid) } else { Ok(()) }
    })
    .await;
}

/// Options of `mayfly up` for the shared Redis and Postgres.
struct SharedOptions {
    arguments: [String; 5],
    prefix: String,
}

impl SharedOptions {
    async fn new() -> Self {
        let servers = SharedServers::get().await.expect("the shared servers start");
        let prefix = format!("local{}", Uuid::now_v7().simple());
        let database = servers.create_database(&prefix).await.expect("the database is created");
        let redis = servers.redis_url().to_owned();
        let arguments = [
            "up".to_owned(),
            "--redis-url".to_owned(),
            redis,
            "--database-url".to_owned(),
            database,
        ];
        Self { arguments, prefix }
    }

    fn up(&self, stack: &StackDir, arguments: &[&str]) -> Command {
        let mut command = stack.command(&[]);
        command.args(&self.arguments).args(arguments).env("MAYFLY_REDIS__PREFIX", &self.prefix);
        command
    }
}

impl StackDir {
    /// Returns a `mayfly up` command that stalls in the migration, after it has started its own
    /// Redis and S3 server.
    fn up_with_stalled_migration(&self, postgres: &TcpListener) -> Command {
        let port = postgres.local_addr().expect("a bound socket has an address").port();
        let url = format!("postgres://mayfly@127.0.0.1:{port}/mayfly");
        self.command(&["up", "--database-url", &url])
    }

    /// Waits for the connection of the migration, and returns the PID of Redis.
    async fn wait_for_migration(&self, postgres: &TcpListener) -> (TcpStream, u32) {
        let connection = timeout(COMMAND_TIMEOUT, postgres.accept()).await;
        let (connection, _) = connection.expect("the migration starts").expect("a connection");
        (connection, self.env().pids(ProcessKind::Redis)[0])
    }

    async fn supervisor_pid(&self) -> u32 {
        let socket = self.root.path().join(".mayfly/control.sock");
        let socket = UnixStream::connect(socket).await.expect("a supervisor listens");
        let pid = socket.peer_cred().expect("credentials").pid().expect("a process ID");
        u32::try_from(pid).expect("a process ID is positive")
    }

    async fn status(&self) -> Value {
        let output = self.run(&["status", "--json"]).await;
        serde_json::from_str(&output.stdout).expect("valid JSON")
    }

    /// Checks that no process of the stack is left.
    async fn assert_down(&self) {
        let output = self.run(&["status", "--json"]).await;
        assert_eq!(output.code, Some(3), "{output:?}");
        let run = self.root.path().join(".mayfly/run");
        let left: Vec<_> = fs::read_dir(run).into_iter().flatten().flatten().collect();
        assert!(left.is_empty(), "PID files: {left:?}");
    }
}

#[tokio::test]
async fn stack_that_is_down_is_reported_and_reset_after_a_confirmation() {
    let stack = StackDir::new();
    let status = stack.run(&["status"]).await;
    assert_eq!(status.code, Some(3), "{status:?}");
    assert!(status.stdout.contains("Mayfly is down"), "{status:?}");
    let status = stack.run(&["status", "--json"]).await;
    assert_eq!(status.code, Some(3), "{status:?}");
    let status: Value = serde_json::from_str(&status.stdout).expect("valid JSON");
    assert_eq!(status, json!({"status": "down", "processes": []}));

    let data = stack.root.path().join(".mayfly/redis/appendonlydir");
    fs::create_dir_all(&data).expect("created");
    let refused = stack.run(&["reset"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("--yes") && data.exists(), "{refused:?}");
    assert_eq!(stack.run(&["reset", "--yes"]).await.code, Some(0));
    assert!(!data.exists());
}

#[tokio::test]
async fn invalid_setting_is_rejected_before_anything_starts() {
    let stack = StackDir::new();
    let mut up = stack.command(&["up"]);
    up.env("MAYFLY_QUEUE__DEPTH_MAX", "many").env("MAYFLY_LOG_LEVEL", "debug");
    let output = CommandOutput::of(&mut up).await;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stderr.contains("MAYFLY_QUEUE__DEPTH_MAX"), "{output:?}");
    assert!(output.stderr.contains("ignoring MAYFLY_LOG_LEVEL"), "{output:?}");
    assert!(!stack.root.path().join(".mayfly").exists(), "nothing was started");
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_start_leaves_nothing_running() {
    let stack = StackDir::new();
    let in_use = TcpListener::bind(("127.0.0.1", stack.port_base + 2)).await.expect("a free port");
    let output = CommandOutput::of(&mut SharedOptions::new().await.up(&stack, &[])).await;
    assert_eq!(output.code, Some(1), "{output:?}");
    let port = format!("port {} (list-api) is in use", stack.port_base + 2);
    assert!(output.stderr.contains(&port), "{output:?}");
    stack.assert_down().await;
    drop(in_use);

    // The migration fails after Redis and the S3 server were started.
    let postgres = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let mut up = stack.up_with_stalled_migration(&postgres).spawn().expect("the command starts");
    let (connection, redis) = stack.wait_for_migration(&postgres).await;
    drop((connection, postgres));
    let exited = timeout(COMMAND_TIMEOUT, up.wait()).await.expect("the command exits");
    assert_eq!(exited.expect("an exit status").code(), Some(1));
    assert!(!is_running(redis), "Redis was stopped");
    stack.assert_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_or_killed_start_leaves_nothing_running() {
    reset_sighup();
    for (signal, code) in [
        (Signal::SIGINT, Some(130)),
        (Signal::SIGHUP, Some(129)),
        (Signal::SIGTERM, Some(143)),
        (Signal::SIGQUIT, Some(131)),
        (Signal::SIGKILL, None),
    ] {
        if !is_full() && [Signal::SIGTERM, Signal::SIGQUIT].contains(&signal) {
            continue;
        }
        let stack = StackDir::new();
        let postgres = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let mut up =
            stack.up_with_stalled_migration(&postgres).spawn().expect("the command starts");
        let (_connection, redis) = stack.wait_for_migration(&postgres).await;
        let supervisor = stack.supervisor_pid().await;
        send_signal(up.id().expect("a running process"), signal);
        let exited = timeout(COMMAND_TIMEOUT, up.wait()).await.expect("the command exits");
        assert_eq!(exited.expect("an exit status").code(), code, "{signal}");
        // The command has waited until the stack is down, unless it was killed.
        assert!(code.is_none() || !is_running(redis), "{signal}");
        wait_for_exit(supervisor).await;
        assert!(!is_running(redis), "{signal}");
        stack.assert_down().await;
    }
}

/// The command that starts the supervisor may be killed before it sends a request.
#[tokio::test(flavor = "multi_thread")]
async fn unused_supervisor_exits() {
    let stack = StackDir::new();
    fs::create_dir(stack.root.path().join(".mayfly")).expect("created");
    let supervisor = stack.command(&["supervise"]).status();
    let exited = timeout(COMMAND_TIMEOUT, supervisor).await.expect("the supervisor exits in time");
    assert!(exited.expect("the supervisor starts").success());
    stack.assert_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn supervisor_ignores_sighup_and_drains_the_services_on_other_signals() {
    reset_sighup();
    let mut signals = vec![Signal::SIGQUIT];
    if is_full() {
        signals.extend([Signal::SIGTERM, Signal::SIGINT]);
    }
    for signal in signals {
        let stack = StackDir::new();
        let mut up = SharedOptions::new().await.up(&stack, &["--scale", ONLY_INGEST]);
        let output = CommandOutput::of(&mut up).await;
        assert_eq!(output.code, Some(0), "{output:?}");
        let supervisor = stack.supervisor_pid().await;
        let before = stack.status().await;
        for harmless in [Signal::SIGHUP, Signal::SIGPIPE] {
            send_signal(supervisor, harmless);
        }
        assert_eq!(stack.status().await, before);
        let service = stack.env().pids(Service::IngestApi)[0];
        send_signal(supervisor, signal);
        wait_for_exit(supervisor).await;
        assert!(!is_running(service));
        let log = fs::read_to_string(stack.root.path().join(".mayfly/logs/ingest-api.log"));
        assert!(log.expect("the log exists").contains("draining"), "{signal}");
        stack.assert_down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_settings_of_the_running_stack_are_reported_and_not_undone() {
    let stack = StackDir::new();
    let options = SharedOptions::new().await;
    let mut up = options.up(&stack, &[]);
    up.env("MAYFLY_LOG__LEVEL", "debug").env("MESSY_BUCKET", "news").env("SCALE", "list-api=2");
    let output = CommandOutput::of(&mut up).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    let before = stack.status().await;
    let processes = before["processes"].as_array().expect("a list");
    assert_eq!((&before["status"], processes.len()), (&json!("up"), 7), "{before}");
    assert!(processes.iter().all(|process| process["state"] == "ready"), "{before}");
    assert_eq!(stack.env().s3_bucket(), "news");

    let mut bare = stack.command(&["up"]);
    let output = CommandOutput::of(bare.env_remove("MAYFLY_PORT_BASE")).await;
    assert_eq!(output.code, Some(1), "{output:?}");
    let port_base = format!("MAYFLY_PORT_BASE={}", stack.port_base);
    for text in [
        &*port_base,
        "SCALE=\"list-api=2\"",
        "REDIS_URL",
        "DATABASE_URL",
        "MAYFLY_LOG__LEVEL=debug",
        "MESSY_BUCKET",
        "--apply",
    ] {
        assert!(output.stderr.contains(text), "{text}: {output:?}");
    }
    assert!(!output.stderr.contains("redis://"), "{output:?}");
    assert_eq!(stack.status().await, before, "nothing was changed");

    let mut apply = options.up(&stack, &["--apply", "--scale", ONLY_INGEST]);
    let output = CommandOutput::of(&mut apply).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    let after = stack.status().await;
    let processes = after["processes"].as_array().expect("a list");
    assert_eq!(processes.len(), 2, "ingest-api and the S3 server: {after}");
    assert_eq!(stack.env().s3_bucket(), "messystats");
}

const HELD_DIR: &str = "MAYFLY_TEST_HELD_DIR";

/// Runs as a test process that another test kills, if the environment names a directory.
#[tokio::test(flavor = "multi_thread")]
async fn hold_processes() {
    let Some(dir) = std::env::var_os(HELD_DIR) else { return };
    let stack = StackDir::new();
    let urls =
        ["--redis-url", "redis://127.0.0.1:9", "--database-url", "postgres://127.0.0.1:9/none"];
    let scale = format!("ingest-api=0 {ONLY_INGEST}");
    let output = stack.run(&[&["up", "--scale", &scale], &urls[..]].concat()).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    let service = ServiceProcess::start_without_stores(Service::IngestApi, None).await;
    let pids = format!("{} {}", stack.supervisor_pid().await, service.pid());
    let dir = Path::new(&dir);
    fs::write(dir.join("new"), pids)
        .and_then(|()| fs::rename(dir.join("new"), dir.join("pids")))
        .expect("written");
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_of_a_killed_test_process_exit() {
    let dir = tempfile::tempdir().expect("the directory is created");
    let mut test = Command::new(std::env::current_exe().expect("the path of this program"));
    test.args(["--exact", "operations::local_stack::hold_processes"]).env(HELD_DIR, dir.path());
    let mut test = test
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the test process starts");
    let pids = eventually(COMMAND_TIMEOUT, "the processes run", async || {
        fs::read_to_string(dir.path().join("pids"))
    })
    .await;
    test.kill().await.expect("a child process");
    for pid in pids.split(' ') {
        wait_for_exit(pid.parse().expect("a process ID")).await;
    }
}
