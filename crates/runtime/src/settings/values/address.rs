//! Socket addresses to listen on.

use std::net::SocketAddr;

use serde::Deserializer;

use super::parse_scalar;

/// Parses an address with a port.
pub(crate) fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    parse_scalar(
        deserializer,
        "an address with a port, such as 0.0.0.0:8080 or [::]:8080",
        |value| value.as_text()?.parse().ok(),
    )
}
