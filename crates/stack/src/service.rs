//! What the stack knows of the five services.

use std::collections::BTreeMap;

pub use mayfly_runtime::Service;
use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::Error as _};

/// Finds a service by the name of its binary.
pub(crate) fn find_service(name: &str) -> Option<Service> {
    Service::ALL.into_iter().find(|service| service.name() == name)
}

/// What differs between the services on one machine.
pub(crate) trait OnOneMachine {
    /// How its lines in `stack.env` begin: `INGEST_API`.
    fn env_name(self) -> String;
    /// Where its public port lies above the base; the workers have none.
    fn http_offset(self) -> Option<u16>;
    /// Where its admin port lies above the base.
    fn admin_offset(self) -> u16;
    /// Whether it is given the address of Postgres. `ingest-api` and `ws-fanout` never reach it.
    fn knows_database(self) -> bool;
    /// Whether it is given the keys of S3: the publisher writes there, and `list-api` signs addresses of objects.
    fn knows_s3(self) -> bool;
}

impl OnOneMachine for Service {
    fn env_name(self) -> String {
        self.name().replace('-', "_").to_uppercase()
    }

    fn http_offset(self) -> Option<u16> {
        match self {
            Self::WsFanout => Some(0),
            Self::IngestApi => Some(1),
            Self::ListApi => Some(2),
            Self::PersistWorker | Self::StatsPublisher => None,
        }
    }

    fn admin_offset(self) -> u16 {
        match self {
            Self::IngestApi => 11,
            Self::ListApi => 12,
            Self::WsFanout => 13,
            Self::PersistWorker => 14,
            Self::StatsPublisher => 15,
        }
    }

    fn knows_database(self) -> bool {
        matches!(self, Self::ListApi | Self::PersistWorker | Self::StatsPublisher)
    }

    fn knows_s3(self) -> bool {
        matches!(self, Self::ListApi | Self::StatsPublisher)
    }
}

/// Counts by service travel as counts by name.
pub(crate) fn serialize_counts<S: Serializer>(
    counts: &BTreeMap<Service, usize>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let named: BTreeMap<_, _> =
        counts.iter().map(|(service, count)| (service.name(), count)).collect();
    named.serialize(serializer)
}

pub(crate) fn deserialize_counts<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<Service, usize>, D::Error> {
    let named = BTreeMap::<String, usize>::deserialize(deserializer)?;
    let find = |name: &str| {
        find_service(name).ok_or_else(|| D::Error::custom(format!("no service `{name}`")))
    };
    named.iter().map(|(name, count)| Ok((find(name)?, *count))).collect()
}
