//! The command line of `mayfly keys`.

use clap::{Args, Subcommand};
use mayfly_core::Host;

/// The subcommands of `mayfly keys`.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Create a key that grants access to hosts, and print it; the key cannot be shown again
    Create(CreateKey),
    /// List the keys, without their secrets
    List,
    /// Revoke a key permanently; exit with 1 if no key or several keys match
    Revoke {
        /// The ID or the prefix of the key, as shown by `mayfly keys list`
        #[arg(value_name = "ID|PREFIX")]
        id_or_prefix: String,
    },
}

/// Options of `mayfly keys create`.
#[derive(Debug, Args)]
pub(crate) struct CreateKey {
    /// Display name, 1 to 64 characters
    #[arg(long, value_parser = name)]
    pub(crate) name: String,
    /// Host that the key grants access to; can be repeated
    #[arg(long = "host", value_name = "HOST", required = true, num_args = 1.., value_parser = host)]
    pub(crate) hosts: Vec<Host>,
}

fn name(text: &str) -> Result<String, &'static str> {
    let is_valid = (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    is_valid
        .then(|| text.to_owned())
        .ok_or("expected 1 to 64 characters without control characters")
}

fn host(text: &str) -> Result<Host, &'static str> {
    Host::parse(text)
}
