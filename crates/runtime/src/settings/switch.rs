//! Switches: `on` or `off`.

use serde::Deserializer;

use super::scalar::{Scalar, read};

/// Reads a switch; true is on.
pub(super) fn on_off<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    read(deserializer, "on or off", |value| match value {
        Scalar::Switch(on) => Some(*on),
        Scalar::Text(text) => match text.as_str() {
            "on" | "true" => Some(true),
            "off" | "false" => Some(false),
            _ => None,
        },
        _ => None,
    })
}
