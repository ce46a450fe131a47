//! What can be named: a part of the stack, and one process of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::service::{Service, find_service};

/// What `mayfly stop` and `start` can name: a service with all its instances, or a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Part {
    /// The stack's own Redis.
    Redis,
    /// The stack's own Postgres.
    Postgres,
    /// The stack's own S3 server.
    S3,
    /// Every instance of a service.
    Service(Service),
}

impl Part {
    const SERVERS: [Self; 3] = [Self::Redis, Self::Postgres, Self::S3];

    /// The name an operator types.
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

impl From<Part> for String {
    fn from(part: Part) -> Self {
        part.name().to_owned()
    }
}

impl TryFrom<String> for Part {
    type Error = UnknownPart;

    fn try_from(name: String) -> Result<Self, UnknownPart> {
        name.parse()
    }
}

impl From<Service> for Part {
    fn from(service: Service) -> Self {
        Self::Service(service)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no part of the stack.
#[derive(Debug, thiserror::Error)]
#[error("there is no `{name}` here: use one of {known}")]
pub struct UnknownPart {
    name: String,
    known: String,
}

impl FromStr for Part {
    type Err = UnknownPart;

    fn from_str(name: &str) -> Result<Self, UnknownPart> {
        let server = Self::SERVERS.into_iter().find(|server| server.name() == name);
        server.or_else(|| find_service(name).map(Self::Service)).ok_or_else(|| UnknownPart {
            name: name.to_owned(),
            known: Self::all().map(Self::name).collect::<Vec<_>>().join(", "),
        })
    }
}

/// One process: a part and its number, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Instance {
    /// What it is one of.
    pub part: Part,
    /// Which one it is; the first is 1.
    pub number: usize,
}

impl Instance {
    pub(crate) const fn first(part: Part) -> Self {
        Self { part, number: 1 }
    }

    pub(crate) fn all_of(service: Service, count: usize) -> impl Iterator<Item = Self> {
        (1..=count).map(move |number| Self { part: Part::Service(service), number })
    }
}

/// `ws-fanout` for the first one, `ws-fanout-2` for the second.
impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            1 => write!(f, "{}", self.part),
            number => write!(f, "{}-{number}", self.part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_found_by_its_name() {
        for part in Part::all() {
            assert_eq!(part.name().parse::<Part>().ok(), Some(part));
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = "mongodb".parse::<Part>().expect_err("there is no such part").to_string();
        assert!(error.contains("mongodb") && error.contains("persist-worker"), "{error}");
    }

    #[test]
    fn only_further_instances_carry_a_number() {
        let names: Vec<_> = Instance::all_of(Service::WsFanout, 2).map(|i| i.to_string()).collect();
        assert_eq!(names, ["ws-fanout", "ws-fanout-2"]);
    }
}
