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
    /// The base URL, without a trailing slash.
    pub url: String,
    _port: ReservedPort,
    _nginx: ChildGuard,
}

impl ReverseProxy {
    /// Returns the URL of a proxy on this port, so that services can be configured before the proxy
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
        let config = render_config(env, port.port);
        Self::start_with(&config, port, root).await
    }

    /// Starts nginx with the shipped configuration, which resolves the instances of a service by
    /// name. The name server listens on the UDP port `name_server`, and all services on
    /// `service_port`.
    ///
    /// # Panics
    /// If nginx does not start.
    pub async fn start_with_names(
        name_server: u16,
        service_port: u16,
        port: ReservedPort,
        root: &Path,
    ) -> Self {
        let mut config = read_shipped_config();
        replace_once(&mut config, "listen 8000;", &format!("listen 127.0.0.1:{};", port.port));
        let resolver = format!("resolver 127.0.0.1:{name_server} ");
        replace_once(&mut config, "resolver 127.0.0.11 ", &resolver);
        for (name, _) in UPSTREAMS {
            let (from, to) = (format!("{name}:8080;"), format!("{name}:{service_port};"));
            replace_once(&mut config, &from, &to);
        }
        Self::start_with(&config, port, root).await
    }

    async fn start_with(config: &str, port: ReservedPort, root: &Path) -> Self {
        let dir = root.join("nginx");
        fs::create_dir(&dir).expect("the directory is created");
        let path = |name: &str| dir.join(name);
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

/// Returns the shipped configuration with this port and these instances, which have different ports.
fn render_config(env: &StackEnv, port: u16) -> String {
    let mut text = read_shipped_config();
    replace_once(&mut text, "listen 8000;", &format!("listen 127.0.0.1:{port};"));
    let mut upstreams = String::new();
    for (name, service) in UPSTREAMS {
        write!(upstreams, "upstream {name} {{ ").expect("writing to a string works");
        let urls = env.urls(service);
        let addresses = urls.iter().map(|url| url.trim_start_matches("http://"));
        // No service listens on this port.
        for address in addresses.chain(urls.is_empty().then_some("127.0.0.1:9")) {
            write!(upstreams, "server {address} max_fails=0; ").expect("writing to a string works");
        }
        upstreams.push_str("}\n");
        replace_once(&mut text, &format!("default {name}:8080;"), &format!("default {name};"));
    }
    replace_once(&mut text, "\nhttp {\n", &format!("\nhttp {{\n{upstreams}"));
    text
}

/// Returns `deploy/nginx.conf`.
fn read_shipped_config() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nginx.conf");
    fs::read_to_string(path).expect("the configuration exists")
}

fn replace_once(text: &mut String, from: &str, to: &str) {
    assert_eq!(text.matches(from).count(), 1, "{from}");
    *text = text.replace(from, to);
}
