//! Where everything in a stack is found.

use std::collections::BTreeMap;

use crate::service::Service;

/// The two ports of one service process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServicePorts {
    /// Where clients come; the workers have none.
    pub(crate) public: Option<u16>,
    /// Where probes and metrics come.
    pub(crate) admin: u16,
}

/// An S3 server and what to use there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct S3Address {
    pub(crate) endpoint: String,
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    pub(crate) region: String,
}

/// Where everything is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) services: BTreeMap<Service, Vec<ServicePorts>>,
    pub(crate) redis_url: String,
    pub(crate) database_url: String,
    pub(crate) s3: Option<S3Address>,
}

impl Addresses {
    /// The public URL of the first instance of a service, as browsers use it.
    pub(crate) fn public_url(&self, service: Service) -> Option<String> {
        self.services.get(&service)?.first()?.public.map(url)
    }
}

/// The address of a local HTTP port, without a slash at the end.
pub(crate) fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
