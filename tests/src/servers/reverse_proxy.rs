//! nginx with `deploy/nginx.conf` in front of a stack.

use std::{ffi::OsStr, fmt::Write, fs, path::Path};

use mayfly_stack::{ReservedPort, Service, StackEnv, find_tool};

use crate::{ChildGuard, DEFAULT_TIMEOUT, eventually};

/// The upstream services, by their names in the configuration.
const UPSTREAMS: [(&str, Service); 3] = [
    ("ingest-api", Service::IngestApi),
    ("list-api", Service::ListApi),
    ("ws-fanout", Service::WsFanout),
];

/// A running nginx.
#[derive(Debug)]
pub struct ReverseProxy {
    /// Its base URL, without a trailing slash.
    pub url: String,
    _port: ReservedPort,
    _nginx: ChildGuard,
}

impl ReverseProxy {
    /// Returns the URL of a proxy on this port, so that services can be configured before it
    /// starts.
    #[must_use]
    pub fn url_at(port: &ReservedPort) -> String {
        format!("http://127.0.0.1:{}", port.port)
    }

    /// Starts nginx in front of all current instances of a stack, with its files below `root`.
    ///
    /// # Panics
    /// If nginx does not start.
    pub async fn start(env: &StackEnv, port: ReservedPort, root: &Path) -> Self {
        let dir = root.join("nginx");
        fs::create_dir(&dir).expect("the directory is created");
        let path = |name: &str| dir.join(name);
        let config = render_config(env, port.port);
        fs::write(path("nginx.conf"), config).expect("the configuration is written");
        let log = fs::File::create(path("log")).expect("the file is created");
        let program = find_tool("nginx").expect("installed by `make test`");
        let command_line: [&OsStr; 7] = [
            program.as_ref(),
            "-p".as_ref(),
            dir.as_ref(),
            "-c".as_ref(),
            "nginx.conf".as_ref(),
            "-g".as_ref(),
            // One process: killing it leaves no orphaned workers.
            "daemon off; master_process off;".as_ref(),
        ];
        let nginx = ChildGuard::start(command_line, log);
        eventually(DEFAULT_TIMEOUT, "nginx listens", async || {
            let connected = tokio::net::TcpStream::connect(("127.0.0.1", port.port)).await;
            connected.map(drop).map_err(|error| (error, fs::read_to_string(path("log"))))
        })
        .await;
        Self { url: Self::url_at(&port), _port: port, _nginx: nginx }
    }
}

/// Returns the shipped configuration with this port and these instances.
fn render_config(env: &StackEnv, port: u16) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nginx.conf");
    let mut text = fs::read_to_string(path).expect("the configuration exists");
    replace_once(&mut text, "listen 8000;", &format!("listen 127.0.0.1:{port};"));
    for (name, service) in UPSTREAMS {
        let mut servers = String::new();
        for url in env.urls(service) {
            let address = url.trim_start_matches("http://");
            write!(servers, "server {address} max_fails=0; ").expect("writing to a string works");
        }
        if servers.is_empty() {
            servers.push_str("server 127.0.0.1:9;");
        }
        replace_once(&mut text, &format!("server {name}:8080 max_fails=0;"), &servers);
    }
    text
}

fn replace_once(text: &mut String, from: &str, to: &str) {
    assert_eq!(text.matches(from).count(), 1, "{from}");
    *text = text.replace(from, to);
}
