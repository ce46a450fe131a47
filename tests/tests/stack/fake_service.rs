//! A fake service that responds only to probes. A script starts this test program as the service.
//!
//! Environment variables configure the behavior: `MAYFLY_FAKE__UNREADY` names a service that is
//! never ready, `MAYFLY_FAKE__DEGRADED` names a service that is degraded for its first
//! [`DEGRADED_PROBES`] readiness probes, `MAYFLY_FAKE__BROKEN` names a service that exits
//! immediately, and `MAYFLY_FAKE__LIFETIME_S` is the number of seconds after which every service
//! exits.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mayfly_stack::Service;

const NAME: &str = "FAKE_SERVICE";
const DEGRADED_PROBES: usize = 5;

/// The number of readiness probes that this process has received.
static PROBES: AtomicUsize = AtomicUsize::new(0);

fn setting(name: &str) -> String {
    std::env::var_os(name).unwrap_or_default().to_string_lossy().into_owned()
}

/// Creates scripts in a directory that start this program as each of the services.
pub(crate) fn create_bin_dir(dir: &Path) {
    let this = std::env::current_exe().expect("the path of this program");
    let run_as = |name: &str| {
        let this = this.display();
        format!("{NAME}={name} exec {this} --exact fake_service::run_fake_service --nocapture")
    };
    for service in Service::ALL {
        write_script(&dir.join(service.name()), &run_as(service.name()));
    }
    let s3 = run_as("s3");
    write_script(
        &dir.join("mayfly"),
        &format!(
            "[ $1 = serve-s3 ] || {{ echo \"$DATABASE_URL\" >&2; exit 0; }}\nMAYFLY_ADMIN__LISTEN=$3 {s3}"
        ),
    );
}

fn write_script(path: &Path, body: &str) {
    fs::write(path, format!("#!/bin/sh\nexport MAYFLY_ADMIN__LISTEN\n{body}\n")).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("executable");
}

/// Runs as a fake service if the environment names one.
#[test]
fn run_fake_service() {
    let name = setting(NAME);
    if name.is_empty() {
        return;
    }
    if setting("MAYFLY_FAKE__BROKEN") == name {
        eprintln!("MAYFLY_FAKE__BROKEN={name}: expected another value");
        std::process::exit(78);
    }
    if let Ok(seconds) = setting("MAYFLY_FAKE__LIFETIME_S").parse() {
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_secs(seconds));
            std::process::exit(0);
        });
    }
    let address = setting("MAYFLY_ADMIN__LISTEN").replace("localhost", "127.0.0.1");
    let listener = TcpListener::bind(address).expect("its port is free");
    for stream in listener.incoming().flatten() {
        let _disconnected = respond(&stream, &name);
    }
}

fn respond(mut stream: &TcpStream, name: &str) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    while reader.read_line(&mut line)? > 2 {}
    let (status, body) = match path.as_str() {
        "/readyz" if setting("MAYFLY_FAKE__UNREADY") == name => {
            ("503 Service Unavailable", "no tea".to_owned())
        }
        "/readyz" if setting("MAYFLY_FAKE__DEGRADED") == name => {
            let is_degraded = PROBES.fetch_add(1, Ordering::Relaxed) < DEGRADED_PROBES;
            ("200 OK", if is_degraded { "degraded" } else { "ready" }.to_owned())
        }
        "/env" => ("200 OK", list_environment()),
        _ => ("200 OK", String::new()),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

fn list_environment() -> String {
    let variables = std::env::vars_os()
        .map(|(name, value)| format!("{}={}\n", name.display(), value.display()));
    variables.collect()
}
