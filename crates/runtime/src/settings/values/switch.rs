//! Switches: `on` or `off`.

use serde::Deserializer;

use super::{Scalar, parse_scalar};

/// Parses a switch; `on` is true.
pub(crate) fn on_off<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    parse_scalar(deserializer, "on or off", |value| match value {
        Scalar::Switch(on) => Some(*on),
        Scalar::Text(text) => match text.as_str() {
            "on" | "true" => Some(true),
            "off" | "false" => Some(false),
            _ => None,
        },
        _ => None,
    })
}
