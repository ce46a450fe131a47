//! `[admin]`: the port for the operator.

use std::net::SocketAddr;

use serde::Deserialize;

/// Where health and metrics are asked for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// The address of the admin port; port 0 takes a free one.
    #[serde(deserialize_with = "super::address::listen")]
    pub listen: SocketAddr,
}
