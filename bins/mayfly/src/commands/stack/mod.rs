//! The subcommands for the local stack.

pub(super) mod down;
pub(super) mod ensure_installed;
pub(super) mod reset;
pub(super) mod run;
pub(super) mod serve_s3;
pub(super) mod start;
pub(super) mod status;
pub(super) mod stop;
pub(super) mod supervise;
pub(super) mod up;
