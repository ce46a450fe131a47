//! Asking a service that runs on this machine whether it is ready: for containers, whose images hold nothing but the
//! binary.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    process::ExitCode,
    time::Duration,
};

/// How long a connection, and then each part of the answer, is waited for.
const TIMEOUT: Duration = Duration::from_secs(2);
/// An answer is a few hundred bytes.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Asks the admin port, prints what it answers, and gives 0 where the service is ready, else 1.
pub(crate) fn check_ready(admin: SocketAddr) -> ExitCode {
    match ask(reachable(admin)) {
        Ok((true, report)) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Ok((false, report)) => {
            eprintln!("{report}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("nobody answers on the admin port {admin}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Who listens on all addresses is asked on loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// Gives whether the service is ready, and its report.
fn ask(admin: SocketAddr) -> io::Result<(bool, String)> {
    let mut stream = TcpStream::connect_timeout(&admin, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it does not speak HTTP"))?;
    Ok((head.starts_with("HTTP/1.1 200 "), body.to_owned()))
}
