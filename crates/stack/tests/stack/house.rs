//! What every test here needs: a checkout of its own, and ways to look at processes.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use mayfly_stack::{Service, SharedServers, Spec, Stack, reset};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::fake::make_bin_dir;

/// Longer than anything here takes on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(30);

/// A checkout with services that are played. Deleted with all that is in it.
pub(crate) struct House {
    pub(crate) dir: TempDir,
}

/// Where Postgres' user cannot reach the directory, its data lies elsewhere.
impl Drop for House {
    fn drop(&mut self) {
        reset(self.dir.path()).expect("deleted");
    }
}

impl House {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let bin = dir.path().join("bin");
        std::fs::create_dir(&bin).expect("made");
        make_bin_dir(&bin);
        Self { dir }
    }

    /// The stack with servers of its own.
    pub(crate) fn spec(&self) -> Spec {
        Spec::for_tests(self.dir.path(), self.dir.path().join("bin"))
    }

    /// The stack on the servers of all tests: quicker, where the servers are not what is tested.
    pub(crate) async fn spec_on_shared_servers(&self) -> Spec {
        let servers = SharedServers::get().await.expect("Redis and Postgres start");
        Spec {
            redis_url: Some(servers.redis_url().to_owned()),
            database_url: Some(servers.database_url().to_owned()),
            without_s3: true,
            ..self.spec()
        }
    }

    /// A stack of this house that is up.
    pub(crate) async fn up(&self) -> (Stack, Spec) {
        let spec = self.spec_on_shared_servers().await;
        let stack = Stack::up(spec.clone()).await.expect("every service gets ready");
        (stack, spec)
    }
}

/// The process ids of all five.
pub(crate) fn all_pids(stack: &Stack) -> Vec<Vec<u32>> {
    Service::ALL.map(|service| stack.env().pids(service)).into()
}

pub(crate) fn first_pid(stack: &Stack, service: Service) -> u32 {
    *stack.env().pids(service).first().expect("it runs")
}

pub(crate) fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), signal).expect("it is there");
}

/// Whether a process runs. One that has ended and was not waited for does not.
#[cfg(target_os = "linux")]
pub(crate) fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn is_running(pid: u32) -> bool {
    kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), None).is_ok()
}

/// Waits until something is so.
pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The body of a GET request.
pub(crate) fn get(url: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer.split_once("\r\n\r\n").expect("a head and a body").1.to_owned()
}
