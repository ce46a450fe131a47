//! `--check-ready`: asks the service on this machine whether it is ready. Container images contain
//! only the service binary, so it is also the client of its health check.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    process::ExitCode,
    time::Duration,
};

/// Timeout for connecting, and for each read and write.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Limit of the response size; a report has a few hundred bytes.
const RESPONSE_BYTES_MAX: u64 = 64 * 1024;

/// Requests `/readyz` on the admin port and prints the report. Returns 0 if the service is ready,
/// else 1.
pub(crate) fn check_ready(admin: SocketAddr) -> ExitCode {
    match request_readiness(to_reachable(admin)) {
        Ok((true, report)) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Ok((false, report)) => {
            eprintln!("{report}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("cannot reach the admin port at {admin}: {error}");
            ExitCode::FAILURE
        }
    }
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
fn request_readiness(admin: SocketAddr) -> io::Result<(bool, String)> {
    let mut stream = TcpStream::connect_timeout(&admin, TIMEOUT)?;
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
