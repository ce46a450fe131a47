//! Addresses that a service listens on.

use std::net::SocketAddr;

use serde::Deserializer;

use super::scalar::read;

/// Reads an address with a port.
pub(super) fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    read(deserializer, "an address with a port such as 0.0.0.0:8080 or [::]:8080", |value| {
        value.as_text()?.parse().ok()
    })
}
