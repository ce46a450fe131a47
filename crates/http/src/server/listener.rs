//! The listening sockets of a port: at most one per IP family.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use actix_server::ServerBuilder;
use actix_service::ServiceFactory;
use actix_web::rt::net::TcpStream;
use anyhow::Context as _;
use mayfly_runtime::ListenAddress;
use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::per_thread::share_per_thread;

/// Length of the accept queue, which must hold a burst of connections.
const BACKLOG: i32 = 4096;
/// Maximum number of attempts to select a port that is free in both families.
const FREE_PORT_ATTEMPTS: u32 = 16;

/// The bound sockets of a port, which are not being served yet.
#[derive(Debug)]
pub struct BoundListener {
    sockets: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
}

impl BoundListener {
    /// Binds an address. Port 0 selects a free port. If the address covers both IP families, a
    /// family that the machine does not support is skipped.
    ///
    /// # Errors
    /// Fails if the address cannot be bound.
    pub fn bind(address: ListenAddress) -> anyhow::Result<Self> {
        let mut attempts = if address.port() == 0 { FREE_PORT_ATTEMPTS } else { 1 };
        loop {
            attempts -= 1;
            match Self::try_bind(address) {
                Err((_, error)) if is_in_use(&error) && attempts > 0 => {}
                Err((address, error)) => {
                    return Err(error).with_context(|| format!("cannot listen on {address}"));
                }
                Ok(bound) => return Ok(bound),
            }
        }
    }

    /// Makes one attempt to bind an address. An error contains the address that cannot be bound.
    fn try_bind(address: ListenAddress) -> Result<Self, (SocketAddr, io::Error)> {
        let wanted = address.to_socket_addresses();
        let is_pair = wanted.len() > 1;
        let mut bound = Self { sockets: Vec::new(), addresses: Vec::new() };
        let mut unavailable = None;
        for mut wanted in wanted {
            if let Some(first) = bound.addresses.first() {
                wanted.set_port(first.port());
            }
            match listen(wanted, is_pair) {
                Ok((socket, address)) => {
                    bound.sockets.push(socket);
                    bound.addresses.push(address);
                }
                Err(error) if is_family_unavailable(&error) => unavailable = Some((wanted, error)),
                Err(error) => return Err((wanted, error)),
            }
        }
        match unavailable {
            Some(unavailable) if bound.sockets.is_empty() => Err(unavailable),
            _ => Ok(bound),
        }
    }

    /// Returns the first address, with the actual port.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Returns the addresses, with the actual port.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns the sockets.
    pub(super) fn sockets(&self) -> &[TcpListener] {
        &self.sockets
    }

    /// Adds the sockets to a server. `create` is called once per server thread, and returns the
    /// factory for the service that all sockets share on that thread.
    pub(super) fn serve_with<F, T>(
        self,
        builder: ServerBuilder,
        name: &str,
        create: F,
    ) -> io::Result<ServerBuilder>
    where
        F: Fn() -> T + Clone + Send + 'static,
        T: ServiceFactory<TcpStream, Config = ()> + 'static,
    {
        let service = share_per_thread(create);
        self.sockets
            .into_iter()
            .try_fold(builder, |builder, socket| builder.listen(name, socket, service.clone()))
    }
}

/// Listens on one address. The IPv6 socket of a pair does not accept IPv4 connections, because the
/// IPv4 socket accepts them.
fn listen(address: SocketAddr, is_pair: bool) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if is_pair && address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from(socket);
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn is_in_use(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

/// Returns whether an error means that the machine does not support the address family or does not
/// have the address.
fn is_family_unavailable(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn missing_family_is_recognized() {
        let missing = io::Error::from_raw_os_error(Errno::EAFNOSUPPORT as i32);
        assert!(is_family_unavailable(&missing) && !is_in_use(&missing));
        let missing = io::Error::from_raw_os_error(Errno::EADDRNOTAVAIL as i32);
        assert!(is_family_unavailable(&missing));
        let in_use = io::Error::from_raw_os_error(Errno::EADDRINUSE as i32);
        assert!(is_in_use(&in_use) && !is_family_unavailable(&in_use));
    }

    #[test]
    fn address_that_the_machine_does_not_have_is_an_error() {
        // Reserved for documentation (RFC 5737).
        let address = SocketAddr::from(([192, 0, 2, 1], 0));
        let error = BoundListener::bind(address.into()).expect_err("no such address");
        assert!(error.to_string().contains("192.0.2.1:0"), "{error}");
    }

    #[test]
    fn single_address_has_one_socket() {
        let bound = BoundListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)).into());
        let bound = bound.expect("a free port");
        assert_eq!(bound.addresses(), [bound.address()]);
        TcpStream::connect(bound.address()).expect("the port is open");
        let other = SocketAddr::new("::1".parse().expect("an address"), bound.address().port());
        TcpStream::connect(other).expect_err("only one address was configured");
    }
}
