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
    /// The origins of the web pages that may call the API from a browser.
    pub allowed_origins: AllowedOrigins,
    /// The allowed values of the `Host` header.
    pub allowed_hosts: AllowedHosts,
    /// The time that the server keeps accepting requests after the first shutdown signal.
    #[serde(deserialize_with = "duration::any")]
    pub drain_delay: Duration,
    /// Time limit of a request, excluding the time to receive its body.
    #[serde(deserialize_with = "duration::positive")]
    pub request_timeout: Duration,
    /// Time limit for receiving the headers of a request, and separately for receiving its body.
    #[serde(deserialize_with = "duration::positive")]
    pub body_timeout: Duration,
    /// The time that the server waits for a client that does not read its response.
    #[serde(deserialize_with = "duration::positive")]
    pub write_timeout: Duration,
    /// Maximum total size, per process, of incomplete request headers and of request bodies in
    /// memory, in bytes. The same limit applies separately to responses that clients have not read.
    #[serde(deserialize_with = "size::positive")]
    pub bodies_bytes_max: usize,
    /// Maximum number of open connections per process.
    #[serde(deserialize_with = "count::positive")]
    pub connections_max: usize,
    /// The time that an idle connection stays open for the next request.
    #[serde(deserialize_with = "duration::positive")]
    pub keep_alive: Duration,
    /// Number of server threads; 0 means one per core.
    #[serde(deserialize_with = "count::threads")]
    pub workers: usize,
    /// The proxies that are trusted to set `X-Forwarded-For`.
    pub trusted_proxies: TrustedProxies,
}
