//! `[http]`: the public port.

use std::{net::SocketAddr, time::Duration};

use serde::Deserialize;

use super::{count, duration, origin::AllowedOrigins, proxies::TrustedProxies};

/// How requests are taken.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// The address that requests are taken on; port 0 takes a free one.
    #[serde(deserialize_with = "super::address::listen")]
    pub listen: SocketAddr,
    /// The origins whose pages may call from a browser.
    pub allowed_origins: AllowedOrigins,
    /// How long requests are still accepted after the first signal.
    #[serde(deserialize_with = "duration::any")]
    pub drain_delay: Duration,
    /// How long a request may take, without the time its body takes to arrive.
    #[serde(deserialize_with = "duration::positive")]
    pub request_timeout: Duration,
    /// How long the body of a request may take to arrive.
    #[serde(deserialize_with = "duration::positive")]
    pub body_timeout: Duration,
    /// Open connections per process.
    #[serde(deserialize_with = "count::positive")]
    pub connections_max: usize,
    /// How long an idle connection is kept.
    #[serde(deserialize_with = "duration::positive")]
    pub keep_alive: Duration,
    /// Threads that serve requests; 0 is one per core.
    #[serde(deserialize_with = "count::threads")]
    pub workers: usize,
    /// The proxies whose `X-Forwarded-For` counts.
    pub trusted_proxies: TrustedProxies,
}
