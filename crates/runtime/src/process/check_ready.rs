//! `--check-ready` asks the service on this machine whether it is ready. Container images contain
//! only the service binary, so the binary is also the client of the health check.

use std::{
    io::{self, Read, Write, stderr, stdout},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    process::ExitCode,
    time::Duration,
};

use crate::settings::ListenAddress;

/// The timeout for connecting, and for each read and write.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The maximum size of a response, in bytes. A report has a few hundred bytes.
const RESPONSE_BYTES_MAX: u64 = 64 * 1024;

/// Requests `/readyz` on the admin port and prints the report. Returns 0 if the service is ready,
/// and 1 if it is not ready or cannot be reached.
pub(crate) fn check_ready(admin: ListenAddress) -> ExitCode {
    match connect(admin).and_then(request_readiness) {
        Ok((true, report)) => {
            let _closed = writeln!(stdout(), "{report}");
            ExitCode::SUCCESS
        }
        Ok((false, report)) => {
            let _closed = writeln!(stderr(), "{report}");
            ExitCode::FAILURE
        }
        Err(error) => {
            let _closed = writeln!(stderr(), "cannot reach the admin port at {admin}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Connects to the first address of the admin port that accepts a connection. A machine may lack
/// IPv4 or IPv6.
fn connect(admin: ListenAddress) -> io::Result<TcpStream> {
    let mut result = Err(io::ErrorKind::AddrNotAvailable.into());
    for address in admin.to_socket_addresses() {
        result = TcpStream::connect_timeout(&to_reachable(address), TIMEOUT);
        if result.is_ok() {
            break;
        }
    }
    result
}

/// Replaces an unspecified listen address with the loopback address.
fn to_reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// Returns whether the service is ready, and its report.
fn request_readiness(mut stream: TcpStream) -> io::Result<(bool, String)> {
    let admin = stream.peer_addr()?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n")?;
    let mut response = String::new();
    stream.take(RESPONSE_BYTES_MAX).read_to_string(&mut response)?;
    let (head, body) = response.split_once("\r\n\r\n").ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "the response is not valid HTTP")
    })?;
    Ok((head.starts_with("HTTP/1.1 200 "), body.to_owned()))
}
