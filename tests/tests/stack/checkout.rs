//! A temporary checkout for each test, and functions that observe processes.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use mayfly_stack::{Service, SharedServers, Spec, Stack, reset};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::fake_service::create_bin_dir;

/// A time limit that no step exceeds, even on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A temporary checkout with fake services.
pub(crate) struct TestCheckout {
    pub(crate) dir: TempDir,
}

/// Also deletes the Postgres data outside the checkout.
impl Drop for TestCheckout {
    fn drop(&mut self) {
        reset(self.dir.path()).expect("deleted");
    }
}

impl TestCheckout {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let bin = dir.path().join("bin");
        std::fs::create_dir(&bin).expect("made");
        create_bin_dir(&bin);
        Self { dir }
    }

    /// Returns the spec of a stack with its own servers.
    pub(crate) fn spec(&self) -> Spec {
        Spec::for_tests(self.dir.path(), self.dir.path().join("bin"))
    }

    /// Returns the spec of a stack on the shared servers, for tests that are not about servers.
    pub(crate) async fn spec_on_shared_servers(&self) -> Spec {
        let servers = SharedServers::get().await.expect("Redis and Postgres start");
        Spec {
            redis_url: Some(servers.redis_url().to_owned()),
            database_url: Some(servers.database_url().to_owned()),
            without_s3: true,
            ..self.spec()
        }
    }

    /// Starts a stack on the shared servers.
    pub(crate) async fn up(&self) -> (Stack, Spec) {
        let spec = self.spec_on_shared_servers().await;
        let stack = Stack::up(spec.clone()).await.expect("every service becomes ready");
        (stack, spec)
    }
}

/// Returns the PIDs of all five services.
pub(crate) fn all_pids(stack: &Stack) -> Vec<Vec<u32>> {
    Service::ALL.map(|service| stack.env().pids(service)).into()
}

pub(crate) fn first_pid(stack: &Stack, service: Service) -> u32 {
    *stack.env().pids(service).first().expect("it runs")
}

pub(crate) fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), signal).expect("it exists");
}

/// Returns whether a process runs. A zombie does not count as running.
#[cfg(target_os = "linux")]
pub(crate) fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn is_running(pid: u32) -> bool {
    kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), None).is_ok()
}

/// Waits until a condition holds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {TIMEOUT:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Sends a GET request and returns the body of the response.
pub(crate) fn get(url: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n").expect("sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response");
    response.split_once("\r\n\r\n").expect("a head and a body").1.to_owned()
}
