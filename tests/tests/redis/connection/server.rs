//! A Redis server for one test.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use mayfly_stack::{ReservedPort, find_tool, reserve_free_port};
use redis::{FromRedisValue, aio::MultiplexedConnection};
use tempfile::TempDir;

use super::eventually;
use crate::TestStore;

/// A server that is killed when this value is dropped or when the test process is killed.
pub(super) struct Server {
    process: Child,
    port: ReservedPort,
    directory: TempDir,
    /// The credentials in URLs, with an `@` at the end, or empty.
    credentials: String,
}

impl Server {
    /// Starts a server with additional arguments. Returns when the server accepts connections.
    pub(super) async fn start(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let port = reserve_free_port().expect("a free port");
        let number = port.port.to_string();
        let mut command = redis_server(directory.path());
        command.args(["--port", &number, "--save", "", "--maxmemory-policy", "noeviction"]);
        Self::spawn(command.args(arguments), port, directory).await
    }

    /// Starts a Sentinel, which monitors nothing.
    pub(super) async fn start_sentinel() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let port = reserve_free_port().expect("a free port");
        // A Sentinel requires a configuration file that it can write.
        let file = directory.path().join("sentinel.conf");
        fs::write(&file, format!("port {}\n", port.port)).expect("a file");
        let mut command = redis_server(directory.path());
        Self::spawn(command.arg(&file).arg("--sentinel"), port, directory).await
    }

    async fn spawn(command: &mut Command, port: ReservedPort, directory: TempDir) -> Self {
        let process = command.spawn().expect("redis-server starts");
        let server = Self { process, port, directory, credentials: String::new() };
        eventually("the server accepts connections", async || server.try_connect().await).await;
        server
    }

    /// Sets the credentials of the URLs, such as `user:password@`.
    pub(super) fn with_credentials(mut self, credentials: &str) -> Self {
        credentials.clone_into(&mut self.credentials);
        self
    }

    pub(super) fn url(&self) -> String {
        format!("redis://{}127.0.0.1:{}", self.credentials, self.port.port)
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port.port)
    }

    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Returns a new store on this server.
    pub(super) fn store(&self, env: &[(&str, &str)]) -> mayfly_hot::HotStore {
        TestStore::create_store(&self.url(), "mayfly", env)
    }

    /// Sends a command, given as words, as the default user. Returns the reply.
    pub(super) async fn query<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let (command, arguments) = words.split_first().expect("a command");
        let mut connection = self.try_connect().await.expect("Redis responds");
        let mut command = redis::cmd(command);
        command.arg(arguments);
        command.query_async(&mut connection).await.expect("a valid command")
    }

    pub(super) async fn try_connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        let client = redis::Client::open(format!("redis://{}", self.address()))?;
        client.get_multiplexed_async_connection().await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Closes the standard input of the shell, which kills the server.
        let _ = self.process.wait();
    }
}

/// A shell script that runs a program and kills it when the shell's standard input is closed.
const GUARD_SCRIPT: &str = r#""$@" </dev/null & cat; kill -KILL $!; wait"#;

/// Returns the command that runs a server in a directory. The server is killed when the standard
/// input of the command is closed, which [`Child::wait`] does, or when the test process is killed.
pub(super) fn redis_server(directory: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", GUARD_SCRIPT, "guard"]);
    command.arg(find_tool("redis-server").expect("Redis is installed"));
    command.current_dir(directory).stdin(Stdio::piped()).stdout(Stdio::null());
    command
}
