//! nginx with `deploy/nginx.conf` in front of a Mayfly: the one entrance.

use std::{ffi::OsStr, fmt::Write, fs, path::Path};

use mayfly_stack::{Claim, Service, StackEnv, find_tool};

use crate::{PATIENCE, Tethered, eventually};

/// The services behind the entrance, as the configuration names them.
const BEHIND: [(&str, Service); 3] = [
    ("ingest-api", Service::IngestApi),
    ("list-api", Service::ListApi),
    ("ws-fanout", Service::WsFanout),
];

/// A running nginx.
#[derive(Debug)]
pub struct Entrance {
    /// Where it is, without a slash at the end.
    pub url: String,
    _port: Claim,
    _nginx: Tethered,
}

impl Entrance {
    /// The URL of an entrance, which services may be told before it is opened.
    #[must_use]
    pub fn url_of(port: &Claim) -> String {
        format!("http://127.0.0.1:{}", port.port)
    }

    /// Opens an entrance to all instances that a stack has now, with files of its own below `root`.
    ///
    /// # Panics
    /// When nginx does not start.
    pub async fn open(env: &StackEnv, port: Claim, root: &Path) -> Self {
        let dir = root.join("entrance");
        fs::create_dir(&dir).expect("a directory can be made");
        let path = |name: &str| dir.join(name);
        fs::write(path("nginx.conf"), configuration(env, port.port)).expect("it can be written");
        let log = fs::File::create(path("log")).expect("a file can be made");
        let program = find_tool("nginx").expect("`make test` installs it");
        let words: [&OsStr; 7] = [
            program.as_ref(),
            "-p".as_ref(),
            dir.as_ref(),
            "-c".as_ref(),
            "nginx.conf".as_ref(),
            "-g".as_ref(),
            // One process: nothing is left of it when it is killed.
            "daemon off; master_process off;".as_ref(),
        ];
        let nginx = Tethered::start(words, log);
        eventually(PATIENCE, "nginx listens", async || {
            let tried = tokio::net::TcpStream::connect(("127.0.0.1", port.port)).await;
            tried.map(drop).map_err(|error| (error, fs::read_to_string(path("log"))))
        })
        .await;
        Self { url: Self::url_of(&port), _port: port, _nginx: nginx }
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
