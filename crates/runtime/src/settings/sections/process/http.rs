//! `[http]`: the public port.

use std::time::Duration;

use serde::Deserialize;

use crate::settings::values::{
    address::ListenAddress, count, duration, hosts::AllowedHosts, origin::AllowedOrigins,
    proxies::TrustedProxies, size,
};

/// Addresses, timeouts and limits of the public HTTP server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSettings {
    /// The address of the public port; port 0 selects a free port.
    pub listen: ListenAddress,
    /// The origins whose web pages may call the API from a browser.
    pub allowed_origins: AllowedOrigins,
    /// The hosts under which clients may address the server.
    pub allowed_hosts: AllowedHosts,
    /// How long the server keeps accepting requests after the first signal.
    #[serde(deserialize_with = "duration::any")]
    pub drain_delay: Duration,
    /// Time limit of a request, excluding the time to receive its body.
    #[serde(deserialize_with = "duration::positive")]
    pub request_timeout: Duration,
    /// Time limit for receiving the body of a request.
    #[serde(deserialize_with = "duration::positive")]
    pub body_timeout: Duration,
    /// How long the server waits for a client that does not read its response.
    #[serde(deserialize_with = "duration::positive")]
    pub write_timeout: Duration,
    /// Bytes per process of request bodies, and separately of responses that clients have not read.
    #[serde(deserialize_with = "size::positive")]
    pub bodies_bytes_max: usize,
    /// Open connections per process.
    #[serde(deserialize_with = "count::positive")]
    pub connections_max: usize,
    /// How long an idle connection stays open, for a load balancer that reuses it.
    #[serde(deserialize_with = "duration::positive")]
    pub keep_alive: Duration,
    /// Number of server threads; 0 means one per core.
    #[serde(deserialize_with = "count::threads")]
    pub workers: usize,
    /// The proxies whose `X-Forwarded-For` header is trusted.
    pub trusted_proxies: TrustedProxies,
}
