//! nginx with `deploy/nginx.conf` in front of a Mayfly: the one entrance.

use std::{fmt::Write, fs, net::TcpListener, path::Path, process::Stdio};

use mayfly_stack::{Service, StackEnv, find_tool};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{PATIENCE, eventually};

/// The services behind the entrance, as the configuration names them.
const BEHIND: [(&str, Service); 3] = [
    ("ingest-api", Service::IngestApi),
    ("list-api", Service::ListApi),
    ("ws-fanout", Service::WsFanout),
];

/// A running nginx. It is killed when this is dropped.
#[derive(Debug)]
pub struct Entrance {
    /// Where it is, without a slash at the end.
    pub url: String,
    _nginx: Child,
    _dir: TempDir,
}

impl Entrance {
    /// A port for an entrance, which services may be told before it is opened.
    ///
    /// # Panics
    /// When none is free.
    #[must_use]
    pub fn find_port() -> u16 {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        socket.local_addr().expect("it is bound").port()
    }

    /// The URL of an entrance.
    #[must_use]
    pub fn url_of(port: u16) -> String {
        format!("http://127.0.0.1:{port}")
    }

    /// Opens an entrance to all instances that a stack has now.
    ///
    /// # Panics
    /// When nginx does not start.
    pub async fn open(env: &StackEnv, port: u16) -> Self {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let file = dir.path().join("nginx.conf");
        fs::write(&file, configuration(env, port)).expect("a file can be written");
        // One process: nothing is left of it when it is killed.
        let log = fs::File::create(dir.path().join("log")).expect("a file can be made");
        let nginx = Command::new(find_tool("nginx").expect("`make test` installs it"))
            .arg("-p")
            .arg(dir.path())
            .arg("-c")
            .arg(&file)
            .args(["-g", "daemon off; master_process off;"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file has two names"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("nginx can be started");
        let entrance = Self { url: Self::url_of(port), _nginx: nginx, _dir: dir };
        eventually(PATIENCE, "nginx listens", async || {
            let tried = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
            tried.map_err(|error| (error, fs::read_to_string(entrance._dir.path().join("log"))))
        })
        .await;
        entrance
    }
}

/// The configuration as it is shipped, with this port and these instances.
fn configuration(env: &StackEnv, port: u16) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nginx.conf");
    let mut text = fs::read_to_string(path).expect("the configuration is there");
    replace(&mut text, "listen 8000;", &format!("listen 127.0.0.1:{port};"));
    for (name, service) in BEHIND {
        let mut servers = String::new();
        for url in env.urls(service) {
            let address = url.trim_start_matches("http://");
            write!(servers, "server {address} max_fails=0; ").expect("a string takes it");
        }
        if servers.is_empty() {
            servers.push_str("server 127.0.0.1:9;");
        }
        replace(&mut text, &format!("server {name}:8080 max_fails=0;"), &servers);
    }
    text
}

fn replace(text: &mut String, what: &str, by: &str) {
    assert_eq!(text.matches(what).count(), 1, "{what}");
    *text = text.replace(what, by);
}
