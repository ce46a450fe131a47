//! The operator's view: admin ports, metrics, configuration and the `mayfly` command.

mod admin;
mod api_keys;
mod configuration;
mod local_stack;
mod logs;
mod metrics;
mod open_files;
mod pause;
mod simulate;
mod stack_dir;
