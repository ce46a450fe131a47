//! Addresses of the services and servers of a stack.

use std::collections::BTreeMap;

use crate::topology::ports::localhost;
use crate::topology::service::Service;

/// The name of the user and of the database in the stack's own Postgres.
pub(crate) const POSTGRES_NAME: &str = "mayfly";

/// The ports of one service process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServicePorts {
    /// The port for clients. `None` for the workers.
    pub(crate) public: Option<u16>,
    /// The port for probes and metrics.
    pub(crate) admin: u16,
}

/// The address of an S3 server, with the bucket, the object key and the credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct S3Address {
    pub(crate) endpoint: String,
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    pub(crate) region: String,
}

/// The addresses of all processes of a stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) services: BTreeMap<Service, Vec<ServicePorts>>,
    pub(crate) redis_url: String,
    pub(crate) database_url: String,
    pub(crate) s3: Option<S3Address>,
}

impl Addresses {
    /// Returns the public URL of the first instance of a service.
    pub(crate) fn public_url(&self, service: Service) -> Option<String> {
        self.services.get(&service)?.first()?.public.map(http_url)
    }
}

/// Returns the URL of a local HTTP port, without a trailing slash.
pub(crate) fn http_url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// Returns the URL of the stack's own Redis.
pub(crate) fn redis_url(port: u16) -> String {
    format!("redis://{}", localhost(port))
}

/// Returns the URL of a database on the stack's own Postgres.
pub(crate) fn database_url(port: u16, database: &str) -> String {
    format!("postgres://{POSTGRES_NAME}@127.0.0.1:{port}/{database}")
}

/// Returns the URL of the database that the services share.
pub(crate) fn main_database_url(port: u16) -> String {
    database_url(port, POSTGRES_NAME)
}
