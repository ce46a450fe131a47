//! A Redis server for one test that accepts only connections over TLS.

use std::{
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use mayfly_stack::{ReservedPort, find_tool, reserve_free_port};

use super::certificates::Certificates;
use crate::{DEFAULT_TIMEOUT, eventually};

/// A server that is killed when this value is dropped or when the test process is killed.
#[derive(Debug)]
pub struct TlsRedis {
    process: Child,
    port: ReservedPort,
}

impl TlsRedis {
    /// The password of the server.
    pub const PASSWORD: &str = "hunter3-of-redis";

    /// Starts a server with a certificate. Its data is deleted when it stops. Returns when the
    /// server listens.
    ///
    /// # Panics
    /// If Redis is not installed or does not start.
    pub async fn start(certificates: &Certificates, certificate: &str) -> Self {
        let port = reserve_free_port().expect("a free port");
        let mut command = Command::new("sh");
        command.args(["-c", GUARD_SCRIPT, "guard"]);
        command.arg(find_tool("redis-server").expect("Redis is installed"));
        command.current_dir(certificates.file(""));
        command.args(["--port", "0", "--tls-port", &port.port.to_string()]);
        command.args(["--bind", "127.0.0.1", "--requirepass", Self::PASSWORD]);
        command.args(["--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"]);
        command.args(["--tls-auth-clients", "no", "--tls-ca-cert-file", "ca.pem"]);
        command.args(["--tls-cert-file", &format!("{certificate}.pem")]);
        command.args(["--tls-key-file", &format!("{certificate}.key")]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("redis-server starts");
        let server = Self { process, port };
        eventually(DEFAULT_TIMEOUT, "the server listens", async || {
            TcpStream::connect(("127.0.0.1", server.port.port)).map(drop)
        })
        .await;
        server
    }

    /// Returns the URL of the server. `scheme` is `redis` or `rediss`.
    #[must_use]
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://:{}@127.0.0.1:{}", Self::PASSWORD, self.port.port)
    }
}

impl Drop for TlsRedis {
    fn drop(&mut self) {
        // Closes the standard input of the shell, which kills the server.
        let _ = self.process.wait();
    }
}

/// A shell script that runs a program and kills it when the shell's standard input is closed.
const GUARD_SCRIPT: &str = r#""$@" </dev/null & cat; kill -KILL $!; wait"#;
