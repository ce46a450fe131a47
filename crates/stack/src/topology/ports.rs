//! Port assignment.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use socket2::{Domain, Socket, Type};

use crate::error::StackError;
use crate::topology::instance::{Instance, ProcessKind};
use crate::topology::service::LocalService as _;

/// The candidates for free ports. They are below the ephemeral port ranges of Linux and macOS, so
/// that no outgoing connection occupies the port of a process while the process restarts.
const CANDIDATES: std::ops::Range<u16> = 20_000..32_768;

/// The candidate port bases. No offset from a base reaches [`CANDIDATES`].
const BASE_CANDIDATES: std::ops::Range<u16> = 12_000..19_900;

/// The highest offset from the port base, which is the offset of S3.
const OFFSET_MAX: u16 = 22;

/// The purpose of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PortKind {
    /// For clients.
    Public,
    /// For probes and metrics.
    Admin,
}

/// A free TCP port that no other caller of [`reserve_free_port`] or [`reserve_port_base`] on this
/// machine receives.
///
/// The reservation is a UDP socket on the same port number. The TCP port therefore stays free for
/// the process that will use it. The reservation needs no file, and ends when the value is dropped
/// or this process exits, even if this process is killed.
#[derive(Debug)]
pub struct ReservedPort {
    /// The port.
    pub port: u16,
    _socket: UdpSocket,
}

/// The ports of one stack. A process keeps an assigned free port for the lifetime of the stack.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    reserved: BTreeMap<(Instance, PortKind), ReservedPort>,
}

impl Ports {
    /// Returns the port of a process: a fixed offset from `base` for the first instance if `base`
    /// is set, otherwise a free port.
    pub(crate) fn assign(
        &mut self,
        base: Option<u16>,
        instance: Instance,
        kind: PortKind,
    ) -> Result<u16, StackError> {
        match (base, offset(instance, kind)) {
            (Some(base), Some(offset)) => add_offset(base, offset),
            _ => self.assign_free(instance, kind),
        }
    }

    fn assign_free(&mut self, instance: Instance, kind: PortKind) -> Result<u16, StackError> {
        if let Some(reserved) = self.reserved.get(&(instance, kind)) {
            return Ok(reserved.port);
        }
        let reserved = reserve_free_port()?;
        let port = reserved.port;
        self.reserved.insert((instance, kind), reserved);
        Ok(port)
    }
}

fn add_offset(base: u16, offset: u16) -> Result<u16, StackError> {
    let base_max = u16::MAX - OFFSET_MAX;
    if base == 0 || base > base_max {
        return Err(StackError::Ports(format!(
            "MAYFLY_PORT_BASE is {base}: expected a number from 1 to {base_max}"
        )));
    }
    Ok(base + offset)
}

fn offset(instance: Instance, kind: PortKind) -> Option<u16> {
    match (instance.kind, kind) {
        _ if instance.number > 1 => None,
        (ProcessKind::Redis, _) => Some(20),
        (ProcessKind::Postgres, _) => Some(21),
        (ProcessKind::S3, _) => Some(OFFSET_MAX),
        (ProcessKind::Service(service), PortKind::Public) => service.http_offset(),
        (ProcessKind::Service(service), PortKind::Admin) => Some(service.admin_offset()),
    }
}

/// Returns whether a server can listen on `port` on 127.0.0.1, and on ::1 if the machine supports
/// IPv6.
///
/// The socket is bound but does not listen. A child process that is being spawned at this moment
/// inherits the socket until it executes its program, and a listening socket would occupy the port
/// until then.
pub(crate) fn is_port_free(port: u16) -> bool {
    let bind = |address: SocketAddr| {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())
    };
    let v6 = bind(SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
    let is_v6_taken = v6.is_err_and(|error| error.kind() == ErrorKind::AddrInUse);
    bind(localhost(port)).is_ok() && !is_v6_taken
}

/// Returns the socket address of a port on 127.0.0.1.
pub(crate) fn localhost(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Reserves a free port on 127.0.0.1.
///
/// # Errors
/// If no port is free.
pub fn reserve_free_port() -> Result<ReservedPort, StackError> {
    random_order(CANDIDATES)
        .find_map(reserve)
        .ok_or_else(|| StackError::Ports("no free port is left on 127.0.0.1".to_owned()))
}

/// Reserves a port base for which all ports are free. No other caller on this machine receives a
/// base that shares a port with this base.
///
/// # Errors
/// If no port base is free.
pub fn reserve_port_base() -> Result<ReservedPort, StackError> {
    random_order(BASE_CANDIDATES)
        // Bases that are different multiples of this number share no port.
        .filter(|base| base % (OFFSET_MAX + 1) == 0)
        .filter(|base| (*base..=base + OFFSET_MAX).all(is_port_free))
        .find_map(reserve)
        .ok_or_else(|| StackError::Ports("no free port base is left on 127.0.0.1".to_owned()))
}

/// Returns the numbers of a range in ascending order, starting at a random number and wrapping
/// around.
fn random_order(range: std::ops::Range<u16>) -> impl Iterator<Item = u16> {
    let count = u64::from(range.end - range.start);
    let start = RandomState::new().hash_one(std::process::id()) % count;
    (0..count)
        .filter_map(move |step| u16::try_from(u64::from(range.start) + (start + step) % count).ok())
}

fn reserve(port: u16) -> Option<ReservedPort> {
    let socket = UdpSocket::bind(localhost(port)).ok()?;
    is_port_free(port).then_some(ReservedPort { port, _socket: socket })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::service::Service;

    #[test]
    fn first_instances_use_offsets_from_the_base() {
        let mut ports = Ports::default();
        let mut port = |process: ProcessKind, kind| {
            ports.assign(Some(8080), Instance::first(process), kind).expect("in range")
        };
        assert_eq!(port(Service::WsFanout.into(), PortKind::Public), 8080);
        assert_eq!(port(Service::IngestApi.into(), PortKind::Public), 8081);
        assert_eq!(port(Service::ListApi.into(), PortKind::Public), 8082);
        assert_eq!(port(Service::IngestApi.into(), PortKind::Admin), 8091);
        assert_eq!(port(Service::StatsPublisher.into(), PortKind::Admin), 8095);
        assert_eq!(port(ProcessKind::Redis, PortKind::Public), 8100);
        assert_eq!(port(ProcessKind::S3, PortKind::Public), 8102);
    }

    #[test]
    fn additional_instance_keeps_its_free_port() {
        let mut ports = Ports::default();
        let second = Instance { kind: Service::WsFanout.into(), number: 2 };
        let first = ports.assign(Some(8080), second, PortKind::Public).expect("a free port");
        assert_eq!(ports.assign(Some(8080), second, PortKind::Public).expect("the same"), first);
        assert!(CANDIDATES.contains(&first));
    }

    #[test]
    fn no_port_is_reserved_twice() {
        let reserved: Vec<_> = (0..64).map(|_| reserve_free_port().expect("a free port")).collect();
        let distinct: std::collections::BTreeSet<_> =
            reserved.iter().map(|reserved| reserved.port).collect();
        assert_eq!(distinct.len(), reserved.len());
    }

    #[test]
    fn ports_of_reserved_bases_do_not_overlap() {
        let reserved: Vec<_> = (0..8).map(|_| reserve_port_base().expect("a free base")).collect();
        let mut bases: Vec<_> = reserved.iter().map(|reserved| reserved.port).collect();
        bases.sort_unstable();
        assert!(bases.windows(2).all(|pair| pair[0] + OFFSET_MAX < pair[1]), "{bases:?}");
    }

    #[test]
    fn out_of_range_base_is_rejected() {
        assert!(add_offset(65_513, 22).is_ok());
        assert!(add_offset(65_514, 0).is_err());
    }
}
