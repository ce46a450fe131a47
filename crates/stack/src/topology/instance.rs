//! The names of the processes in a stack.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::topology::service::{Service, find_service};

/// A service with all its instances, or a server. `mayfly stop` and `mayfly start` accept the name
/// of either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum ProcessKind {
    /// The stack's own Redis.
    Redis,
    /// The stack's own Postgres.
    Postgres,
    /// The stack's own S3 server.
    S3,
    /// Every instance of a service.
    Service(Service),
}

impl ProcessKind {
    const SERVERS: [Self; 3] = [Self::Redis, Self::Postgres, Self::S3];

    /// Returns the name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Postgres => "postgres",
            Self::S3 => "s3",
            Self::Service(service) => service.name(),
        }
    }

    pub(crate) const fn is_service(self) -> bool {
        matches!(self, Self::Service(_))
    }

    fn all() -> impl Iterator<Item = Self> {
        Self::SERVERS.into_iter().chain(Service::ALL.map(Self::Service))
    }
}

impl From<ProcessKind> for String {
    fn from(kind: ProcessKind) -> Self {
        kind.name().to_owned()
    }
}

impl TryFrom<String> for ProcessKind {
    type Error = UnknownProcess;

    fn try_from(name: String) -> Result<Self, UnknownProcess> {
        name.parse()
    }
}

impl From<Service> for ProcessKind {
    fn from(service: Service) -> Self {
        Self::Service(service)
    }
}

impl fmt::Display for ProcessKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The error for a name that belongs to no process of the stack.
#[derive(Debug, thiserror::Error)]
#[error("unknown process `{name}`: expected one of {expected}")]
pub struct UnknownProcess {
    name: String,
    expected: String,
}

impl FromStr for ProcessKind {
    type Err = UnknownProcess;

    fn from_str(name: &str) -> Result<Self, UnknownProcess> {
        let server = Self::SERVERS.into_iter().find(|server| server.name() == name);
        server.or_else(|| find_service(name).map(Self::Service)).ok_or_else(|| UnknownProcess {
            name: name.to_owned(),
            expected: Self::all().map(Self::name).collect::<Vec<_>>().join(", "),
        })
    }
}

/// One process of a service or server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Instance {
    /// The service or server.
    pub kind: ProcessKind,
    /// The number of the instance, starting at 1.
    pub number: usize,
}

impl Instance {
    pub(crate) const fn first(kind: ProcessKind) -> Self {
        Self { kind, number: 1 }
    }

    pub(crate) fn all(service: Service, count: usize) -> impl Iterator<Item = Self> {
        (1..=count).map(move |number| Self { kind: ProcessKind::Service(service), number })
    }
}

/// Formats the first instance as `ws-fanout` and the second as `ws-fanout-2`.
impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            1 => write!(f, "{}", self.kind),
            number => write!(f, "{}-{number}", self.kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_process_kind_parses_from_its_name() {
        for kind in ProcessKind::all() {
            assert_eq!(kind.name().parse::<ProcessKind>().ok(), Some(kind));
        }
    }

    #[test]
    fn unknown_name_is_rejected_with_the_known_names() {
        let error = "mongodb".parse::<ProcessKind>().expect_err("unknown name").to_string();
        assert!(error.contains("mongodb") && error.contains("persist-worker"), "{error}");
    }

    #[test]
    fn first_instance_has_no_number() {
        let names: Vec<_> = Instance::all(Service::WsFanout, 2).map(|i| i.to_string()).collect();
        assert_eq!(names, ["ws-fanout", "ws-fanout-2"]);
    }
}
