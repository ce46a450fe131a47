//! Which process listens where.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use crate::error::StackError;
use crate::instance::{Instance, Part};
use crate::service::OnOneMachine as _;

/// Below what Linux and macOS hand out by themselves, so that no connection's own end ever sits on a port of ours
/// while its process is restarted.
const FREE: std::ops::Range<u16> = 20_000..32_768;

/// The highest offset above the base, that of S3.
const OFFSET_MAX: u16 = 22;

/// What a port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// What clients use.
    Public,
    /// Probes and metrics.
    Admin,
}

/// A port that nobody else who asks the same way is given.
///
/// The claim is a UDP socket on the same number: it leaves TCP to the process that the port is for, needs no file, and
/// ends with this process however that ends.
#[derive(Debug)]
pub struct Claim {
    /// The port.
    pub port: u16,
    _held: UdpSocket,
}

/// The ports of one stack. A process keeps its port as long as the stack lives.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    free: BTreeMap<(Instance, Role), Claim>,
}

impl Ports {
    /// Returns the port of a process: counted from the base for the first one of each, else a free one.
    pub(crate) fn assign(
        &mut self,
        base: Option<u16>,
        instance: Instance,
        role: Role,
    ) -> Result<u16, StackError> {
        match (base, offset(instance, role)) {
            (Some(base), Some(offset)) => count_from(base, offset),
            _ => self.assign_free(instance, role),
        }
    }

    fn assign_free(&mut self, instance: Instance, role: Role) -> Result<u16, StackError> {
        if let Some(claim) = self.free.get(&(instance, role)) {
            return Ok(claim.port);
        }
        let claim = claim_free()?;
        let port = claim.port;
        self.free.insert((instance, role), claim);
        Ok(port)
    }
}

fn count_from(base: u16, offset: u16) -> Result<u16, StackError> {
    if base == 0 || base > u16::MAX - OFFSET_MAX {
        let most = u16::MAX - OFFSET_MAX;
        return Err(StackError::Ports(format!(
            "MAYFLY_PORT_BASE is {base}, allowed is 1 to {most}"
        )));
    }
    Ok(base + offset)
}

fn offset(instance: Instance, role: Role) -> Option<u16> {
    match (instance.part, role) {
        _ if instance.number > 1 => None,
        (Part::Redis, _) => Some(20),
        (Part::Postgres, _) => Some(21),
        (Part::S3, _) => Some(OFFSET_MAX),
        (Part::Service(service), Role::Public) => service.http_offset(),
        (Part::Service(service), Role::Admin) => Some(service.admin_offset()),
    }
}

/// Says whether a server could listen on a port now.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind(local(port)).is_ok()
}

/// The address on this machine.
pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Claims a port of 127.0.0.1 that nobody has.
///
/// # Errors
/// If none is left.
pub fn claim_free() -> Result<Claim, StackError> {
    let start = RandomState::new().hash_one(std::process::id());
    let count = u64::from(FREE.end - FREE.start);
    (0..count)
        .filter_map(|step| {
            u16::try_from(u64::from(FREE.start) + start.wrapping_add(step) % count).ok()
        })
        .find_map(claim)
        .ok_or_else(|| StackError::Ports("no free port is left on 127.0.0.1".to_owned()))
}

fn claim(port: u16) -> Option<Claim> {
    let held = UdpSocket::bind(local(port)).ok()?;
    is_free(port).then_some(Claim { port, _held: held })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Service;

    #[test]
    fn the_first_of_each_counts_from_the_base() {
        let mut ports = Ports::default();
        let mut port = |part: Part, role| {
            ports.assign(Some(8080), Instance::first(part), role).expect("in range")
        };
        assert_eq!(port(Service::WsFanout.into(), Role::Public), 8080);
        assert_eq!(port(Service::IngestApi.into(), Role::Public), 8081);
        assert_eq!(port(Service::ListApi.into(), Role::Public), 8082);
        assert_eq!(port(Service::IngestApi.into(), Role::Admin), 8091);
        assert_eq!(port(Service::StatsPublisher.into(), Role::Admin), 8095);
        assert_eq!(port(Part::Redis, Role::Public), 8100);
        assert_eq!(port(Part::S3, Role::Public), 8102);
    }

    #[test]
    fn a_further_instance_keeps_the_free_port_it_was_given() {
        let mut ports = Ports::default();
        let second = Instance { part: Service::WsFanout.into(), number: 2 };
        let first_time = ports.assign(Some(8080), second, Role::Public).expect("a port is free");
        assert_eq!(ports.assign(Some(8080), second, Role::Public).expect("the same"), first_time);
        assert!(FREE.contains(&first_time));
    }

    #[test]
    fn no_two_stacks_are_given_the_same_port() {
        let claims: Vec<_> = (0..64).map(|_| claim_free().expect("a port is free")).collect();
        let distinct: std::collections::BTreeSet<_> =
            claims.iter().map(|claim| claim.port).collect();
        assert_eq!(distinct.len(), claims.len());
    }

    #[test]
    fn a_base_that_leaves_no_room_is_refused() {
        assert!(count_from(65_513, 22).is_ok());
        assert!(count_from(65_514, 0).is_err());
    }
}
