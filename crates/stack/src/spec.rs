//! The desired state of a stack.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use mayfly_runtime::{Settings, SettingsError};
use serde::{Deserialize, Serialize};

use crate::topology::service::{Service, deserialize_counts, find_service, serialize_counts};

/// The maximum number of instances per service on one machine. A larger number is likely a typo.
const INSTANCES_MAX: usize = 64;

/// The origins of the pages that may use the local stack: every loopback origin.
const LOOPBACK_ORIGINS: &str = "http://localhost:*,http://127.0.0.1:*,http://[::1]:*";
/// The hosts that the local stack accepts: loopback hosts. A page with a host name that resolves to
/// a loopback address (DNS rebinding) has the same origin as the stack, but its requests contain
/// that host name in `Host`.
const LOOPBACK_HOSTS: &str = "localhost,*.localhost,127.0.0.1,[::1]";

/// The settings of the local stack that differ from the built-in defaults. The stack listens on
/// loopback addresses only, and all of its clients have the same address.
pub(crate) const LOCAL_DEFAULTS: [(&str, &str); 12] = [
    ("MAYFLY_AUTH__MODE", "open"),
    ("MAYFLY_HTTP__DRAIN_DELAY", "0s"),
    ("MAYFLY_LIMITS__MESSAGES", "off"),
    ("MAYFLY_LIMITS__PLAYS", "off"),
    ("MAYFLY_LIMITS__VISITS", "off"),
    ("MAYFLY_LIMITS__AUTH_FAILURES", "off"),
    ("MAYFLY_FANOUT__CONNECTIONS_PER_CLIENT_MAX", "off"),
    ("MAYFLY_FANOUT__CLIENT_FRAMES", "off"),
    ("MAYFLY_HTTP__ALLOWED_ORIGINS", LOOPBACK_ORIGINS),
    ("MAYFLY_HTTP__ALLOWED_HOSTS", LOOPBACK_HOSTS),
    ("MAYFLY_INGEST__WRITE_BY_GET", "on"),
    ("MAYFLY_LIST__CHATS_GET", "on"),
];

/// The desired state of a stack, applied with [`Stack::apply`](crate::Stack::apply).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The checkout that contains `.mayfly`. A running stack cannot move to another checkout.
    pub root: PathBuf,
    /// The directory of the binaries, such as `target/release`.
    pub bin_dir: PathBuf,
    /// The port of `ws-fanout`. The other ports have fixed offsets from this port, except that
    /// additional instances of a service use free ports. `None` assigns only free ports.
    pub port_base: Option<u16>,
    /// The number of instances of each service. A service without an entry has one instance.
    #[serde(serialize_with = "serialize_counts", deserialize_with = "deserialize_counts")]
    pub scale: BTreeMap<Service, usize>,
    /// `MAYFLY_*` settings for every service, which override the defaults of the local stack.
    pub env: BTreeMap<String, String>,
    /// The URL of a Redis that replaces the stack's own.
    pub redis_url: Option<String>,
    /// The URL of a Postgres that replaces the stack's own.
    pub database_url: Option<String>,
    /// The URL of an S3 server that replaces the stack's own. `s3_env` contains the credentials.
    pub s3_endpoint: Option<String>,
    /// `MESSY_*` variables and, if `s3_endpoint` is set, `AWS_*` variables.
    pub s3_env: BTreeMap<String, String>,
    /// Whether the stack has no S3 server, for tests that do not need one.
    pub without_s3: bool,
    /// Whether the servers sync their writes to disk. Tests do not need durable data.
    pub durable: bool,
    /// A Postgres data directory to copy, which is faster than initializing a new one. The template
    /// is created if it does not exist.
    pub postgres_template: Option<PathBuf>,
    /// Whether schema migrations run before the services start.
    pub migrate: bool,
    /// The time limit for the services to become ready.
    pub ready_timeout: Duration,
    /// The time to wait for a degraded service to become fully ready. A service that is still
    /// degraded after this time counts as ready.
    pub settle_timeout: Duration,
}

impl Spec {
    /// Describes the stack of a checkout: one instance of each service, default ports, durable
    /// data.
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
            postgres_template: None,
            migrate: true,
            ready_timeout: Duration::from_secs(30),
            settle_timeout: Duration::from_secs(10),
        }
    }

    /// Describes a stack for tests: free ports, and servers that do not sync their writes to disk.
    pub fn for_tests(root: impl Into<PathBuf>, bin_dir: impl Into<PathBuf>) -> Self {
        Self {
            port_base: None,
            durable: false,
            settle_timeout: Duration::ZERO,
            ..Self::new(root, bin_dir)
        }
    }

    /// Describes a stack that consists only of Redis and Postgres.
    pub fn servers_only(root: impl Into<PathBuf>) -> Self {
        Self {
            scale: Service::ALL.map(|service| (service, 0)).into(),
            without_s3: true,
            migrate: false,
            ..Self::for_tests(root, PathBuf::new())
        }
    }

    /// Describes a stack that consists only of Redis.
    pub fn redis_only(root: impl Into<PathBuf>) -> Self {
        // A URL replaces the stack's own Postgres. No process uses this URL.
        Self { database_url: Some(String::new()), ..Self::servers_only(root) }
    }

    /// Sets the number of instances of a service.
    #[must_use]
    pub fn with_scale(mut self, service: Service, count: usize) -> Self {
        self.scale.insert(service, count);
        self
    }

    /// Sets one `MAYFLY_*` variable for every service.
    #[must_use]
    pub fn with_env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Returns the number of instances of a service.
    pub fn count(&self, service: Service) -> usize {
        self.scale.get(&service).copied().unwrap_or(1)
    }

    /// Returns an error if a service would reject a setting at startup.
    ///
    /// # Errors
    /// The same errors as [`Settings::load`].
    pub fn check_settings(&self) -> Result<(), SettingsError> {
        let defaults = LOCAL_DEFAULTS.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut env = BTreeMap::from(defaults);
        env.extend(self.s3_env.iter().chain(self.settings()).map(owned));
        Settings::from_layers(None, env.into_iter()).map(drop)
    }

    /// Returns the variables for the services. Excludes names without `__`, which belong to tools,
    /// and variables for addresses that the stack itself assigns.
    pub(crate) fn settings(&self) -> impl Iterator<Item = (&String, &String)> {
        let is_passed_on = |name: &str| {
            name.starts_with("MAYFLY_") && name.contains("__") && !is_managed_setting(name)
        };
        self.env.iter().filter(move |(name, _)| is_passed_on(name))
    }
}

fn owned((name, value): (&String, &String)) -> (String, String) {
    (name.clone(), value.clone())
}

/// Returns whether a variable configures an address that the stack itself assigns: a listen
/// address, or the URL of Redis or Postgres with its password.
pub fn is_managed_setting(name: &str) -> bool {
    const MANAGED: [&str; 10] = [
        "MAYFLY_HTTP__LISTEN",
        "MAYFLY_ADMIN__LISTEN",
        "MAYFLY_REDIS__URL",
        "MAYFLY_REDIS__URL_FILE",
        "MAYFLY_REDIS__PASSWORD",
        "MAYFLY_REDIS__PASSWORD_FILE",
        "MAYFLY_POSTGRES__URL",
        "MAYFLY_POSTGRES__URL_FILE",
        "MAYFLY_POSTGRES__PASSWORD",
        "MAYFLY_POSTGRES__PASSWORD_FILE",
    ];
    MANAGED.contains(&name)
}

/// An invalid `SCALE`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ScaleError {
    /// An item is not of the form `name=number`.
    #[error("invalid item `{0}` in SCALE: expected the form ws-fanout=2")]
    Syntax(String),
    /// The service does not exist.
    #[error(
        "unknown service `{0}` in SCALE: expected ingest-api, list-api, ws-fanout, persist-worker or stats-publisher"
    )]
    UnknownService(String),
    /// The number is invalid or out of range.
    #[error("invalid number `{0}` in SCALE: expected 0 to {INSTANCES_MAX}")]
    InvalidCount(String),
}

/// Parses items such as `ws-fanout=2`, separated by whitespace or commas.
pub fn parse_scale(text: &str) -> Result<BTreeMap<Service, usize>, ScaleError> {
    text.split([' ', '\t', '\n', ',']).filter(|word| !word.is_empty()).map(parse_count).collect()
}

fn parse_count(word: &str) -> Result<(Service, usize), ScaleError> {
    let (name, count) = word.split_once('=').ok_or_else(|| ScaleError::Syntax(word.to_owned()))?;
    let service = find_service(name).ok_or_else(|| ScaleError::UnknownService(name.to_owned()))?;
    match count.parse() {
        Ok(number) if number <= INSTANCES_MAX => Ok((service, number)),
        _ => Err(ScaleError::InvalidCount(count.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_maps_services_to_counts() {
        let scale = parse_scale(" ws-fanout=2  persist-worker=3,list-api=0 ").expect("well formed");
        let expected = [(Service::WsFanout, 2), (Service::PersistWorker, 3), (Service::ListApi, 0)];
        assert_eq!(scale, expected.into());
        assert_eq!(parse_scale(""), Ok(BTreeMap::new()));
    }

    #[test]
    fn invalid_scale_is_rejected_with_the_invalid_item() {
        assert_eq!(parse_scale("ws-fanout"), Err(ScaleError::Syntax("ws-fanout".into())));
        assert_eq!(parse_scale("fanout=2"), Err(ScaleError::UnknownService("fanout".into())));
        assert_eq!(parse_scale("ws-fanout=-1"), Err(ScaleError::InvalidCount("-1".into())));
        assert_eq!(parse_scale("ws-fanout=65"), Err(ScaleError::InvalidCount("65".into())));
    }

    #[test]
    fn only_a_stack_for_tests_does_not_wait_for_degraded_services() {
        assert!(Spec::new("/checkout", "/bin").settle_timeout >= Duration::from_secs(5));
        assert_eq!(Spec::for_tests("/checkout", "/bin").settle_timeout, Duration::ZERO);
    }

    #[test]
    fn spec_round_trips_through_json() {
        let spec = Spec::new("/checkout", "/bin").with_scale(Service::WsFanout, 2);
        let json = serde_json::to_string(&spec).expect("written");
        assert_eq!(serde_json::from_str::<Spec>(&json).expect("read"), spec);
    }

    #[test]
    fn managed_settings_are_not_passed_on() {
        let spec = Spec::new("/tmp", "/tmp")
            .with_env("MAYFLY_HTTP__LISTEN", "0.0.0.0:80")
            .with_env("MAYFLY_REDIS__URL_FILE", "/run/secrets/redis")
            .with_env("MAYFLY_POSTGRES__PASSWORD_FILE", "/run/secrets/postgres");
        assert_eq!(spec.settings().count(), 0);
    }

    #[test]
    fn settings_are_checked_together_with_the_local_defaults() {
        let spec = Spec::new("/tmp", "/tmp");
        let check = |name: &str, value: &str| spec.clone().with_env(name, value).check_settings();
        // Too short for the built-in `http.drain_delay` (5s), but not for the local default (0s).
        check("MAYFLY_LIFECYCLE__SHUTDOWN_TIMEOUT", "3s").expect("valid");
        check("MAYFLY_HTTP__LISTEN", "invalid, but not used").expect("valid");
        let error = check("MAYFLY_QUEUE__DEPTH_MAX", "many").expect_err("invalid").to_string();
        assert!(error.contains("MAYFLY_QUEUE__DEPTH_MAX"), "{error}");
        check("MAYFLY_LOG__LEVLE", "debug").expect_err("unknown");
    }

    #[test]
    fn names_without_double_underscore_are_not_passed_on() {
        let spec = Spec::new("/tmp", "/tmp")
            .with_env("MAYFLY_PORT_BASE", "9000")
            .with_env("MAYFLY_LOG__LEVEL", "debug");
        assert_eq!(
            spec.settings().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["MAYFLY_LOG__LEVEL"]
        );
    }
}
