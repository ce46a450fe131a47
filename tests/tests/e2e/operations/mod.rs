//! The operator's view: admin ports, metrics, configuration and the `mayfly` command.

mod admin;
mod api_keys;
mod configuration;
mod metrics;
mod simulate;
