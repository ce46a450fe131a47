//! What a stack should be.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::service::{Service, deserialize_counts, find_service, serialize_counts};

/// More of one service than a single machine is good for is a slip of the finger.
const INSTANCES_MAX: usize = 64;

/// What a stack should be; [`Stack::apply`](crate::Stack::apply) makes it so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The checkout, in which `.mayfly` lies. Fixed for the life of a stack.
    pub root: PathBuf,
    /// Where the binaries are: `target/release`.
    pub bin_dir: PathBuf,
    /// The port of `ws-fanout`, from which all others count; `None` takes free ports.
    pub port_base: Option<u16>,
    /// How many of each service; one where nothing is said, none for 0.
    #[serde(serialize_with = "serialize_counts", deserialize_with = "deserialize_counts")]
    pub scale: BTreeMap<Service, usize>,
    /// `MAYFLY_*` settings, given to every service over the local defaults.
    pub env: BTreeMap<String, String>,
    /// A Redis to use instead of the stack's own.
    pub redis_url: Option<String>,
    /// A Postgres to use instead of the stack's own.
    pub database_url: Option<String>,
    /// An S3 server to use instead of the stack's own, with the keys from `s3_env`.
    pub s3_endpoint: Option<String>,
    /// `AWS_*` and `MESSY_*`, used only together with `s3_endpoint`.
    pub s3_env: BTreeMap<String, String>,
    /// Starts no S3 server and tells nobody of one, for tests that need none.
    pub without_s3: bool,
    /// Whether the servers wait for the disk. Tests need not; people's data does.
    pub durable: bool,
    /// Whether the schema is brought up to date before the services start.
    pub migrate: bool,
    /// How long the services may take to get ready.
    pub ready_within: Duration,
}

impl Spec {
    /// Describes the stack of a checkout: one of each service, the default ports, data that stays.
    pub fn new(root: impl Into<PathBuf>, bin_dir: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            bin_dir: bin_dir.into(),
            port_base: Some(8080),
            scale: BTreeMap::new(),
            env: BTreeMap::new(),
            redis_url: None,
            database_url: None,
            s3_endpoint: None,
            s3_env: BTreeMap::new(),
            without_s3: false,
            durable: true,
            migrate: true,
            ready_within: Duration::from_secs(30),
        }
    }

    /// Describes a stack for a test: free ports, servers that do not wait for the disk.
    pub fn for_tests(root: impl Into<PathBuf>, bin_dir: impl Into<PathBuf>) -> Self {
        Self { port_base: None, durable: false, ..Self::new(root, bin_dir) }
    }

    /// Describes a stack of nothing but Redis and Postgres.
    pub fn servers_only(root: impl Into<PathBuf>) -> Self {
        Self {
            scale: Service::ALL.map(|service| (service, 0)).into(),
            without_s3: true,
            migrate: false,
            ..Self::for_tests(root, PathBuf::new())
        }
    }

    /// Sets how many of a service there are.
    #[must_use]
    pub fn with_scale(mut self, service: Service, count: usize) -> Self {
        self.scale.insert(service, count);
        self
    }

    /// Sets one `MAYFLY_*` setting of every service.
    #[must_use]
    pub fn with_env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// How many of a service there should be.
    pub fn count(&self, service: Service) -> usize {
        self.scale.get(&service).copied().unwrap_or(1)
    }

    /// The settings that are passed on: names without `__` belong to tools, and some are the stack's own to set.
    pub(crate) fn settings(&self) -> impl Iterator<Item = (&String, &String)> {
        let passed_on = |name: &str| {
            name.starts_with("MAYFLY_") && name.contains("__") && !is_own_setting(name)
        };
        self.env.iter().filter(move |(name, _)| passed_on(name))
    }
}

/// Whether a setting is for the stack to make: where each service listens, and where Redis and Postgres are.
pub fn is_own_setting(name: &str) -> bool {
    const OWN: [&str; 4] = [
        "MAYFLY_HTTP__LISTEN",
        "MAYFLY_ADMIN__LISTEN",
        "MAYFLY_REDIS__URL",
        "MAYFLY_POSTGRES__URL",
    ];
    OWN.contains(&name)
}

/// A `SCALE` that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ScaleError {
    /// Not of the form `name=number`.
    #[error("`{0}` in SCALE is not of the form ws-fanout=2")]
    Form(String),
    /// No service of that name.
    #[error(
        "`{0}` in SCALE is no service: use ingest-api, list-api, ws-fanout, persist-worker or stats-publisher"
    )]
    Service(String),
    /// Not a number of processes.
    #[error("`{0}` in SCALE is no number from 0 to {INSTANCES_MAX}")]
    Count(String),
}

/// Reads `ws-fanout=2 persist-worker=3`, separated by blanks or commas.
pub fn parse_scale(text: &str) -> Result<BTreeMap<Service, usize>, ScaleError> {
    text.split([' ', '\t', '\n', ',']).filter(|word| !word.is_empty()).map(parse_count).collect()
}

fn parse_count(word: &str) -> Result<(Service, usize), ScaleError> {
    let (name, count) = word.split_once('=').ok_or_else(|| ScaleError::Form(word.to_owned()))?;
    let service = find_service(name).ok_or_else(|| ScaleError::Service(name.to_owned()))?;
    match count.parse() {
        Ok(number) if number <= INSTANCES_MAX => Ok((service, number)),
        _ => Err(ScaleError::Count(count.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_names_services_and_counts() {
        let scale = parse_scale(" ws-fanout=2  persist-worker=3,list-api=0 ").expect("well formed");
        let expected = [(Service::WsFanout, 2), (Service::PersistWorker, 3), (Service::ListApi, 0)];
        assert_eq!(scale, expected.into());
        assert_eq!(parse_scale(""), Ok(BTreeMap::new()));
    }

    #[test]
    fn a_wrong_scale_is_refused_with_the_word_that_is_wrong() {
        assert_eq!(parse_scale("ws-fanout"), Err(ScaleError::Form("ws-fanout".into())));
        assert_eq!(parse_scale("fanout=2"), Err(ScaleError::Service("fanout".into())));
        assert_eq!(parse_scale("ws-fanout=-1"), Err(ScaleError::Count("-1".into())));
        assert_eq!(parse_scale("ws-fanout=65"), Err(ScaleError::Count("65".into())));
    }

    #[test]
    fn a_spec_travels_as_json() {
        let spec = Spec::new("/checkout", "/bin").with_scale(Service::WsFanout, 2);
        let json = serde_json::to_string(&spec).expect("written");
        assert_eq!(serde_json::from_str::<Spec>(&json).expect("read"), spec);
    }

    #[test]
    fn what_the_stack_sets_itself_is_not_passed_on() {
        let spec = Spec::new("/tmp", "/tmp").with_env("MAYFLY_HTTP__LISTEN", "0.0.0.0:80");
        assert_eq!(spec.settings().count(), 0);
    }

    #[test]
    fn names_without_two_underscores_are_not_passed_on() {
        let spec = Spec::new("/tmp", "/tmp")
            .with_env("MAYFLY_PORT_BASE", "9000")
            .with_env("MAYFLY_LOG__LEVEL", "debug");
        assert_eq!(
            spec.settings().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["MAYFLY_LOG__LEVEL"]
        );
    }
}
