//! What can be typed behind `keys`.

use clap::{Args, Subcommand};
use mayfly_core::Host;

/// What is done with API keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Makes a key that opens hosts, and prints it: it cannot be shown again
    Create(CreateKey),
    /// Shows which keys there are, and not the keys themselves
    List,
    /// Revokes a key, for good: 0 when it is revoked, also when it was before, 1 when there is none
    Revoke {
        /// Its id, or its first characters, as `list` shows them
        #[arg(value_name = "ID|START")]
        which: String,
    },
}

/// A key that is to be made.
#[derive(Debug, Args)]
pub(crate) struct CreateKey {
    /// What people call it, 1 to 64 characters
    #[arg(long, value_parser = name)]
    pub(crate) name: String,
    /// A host that it opens; may be given several times
    #[arg(long = "host", value_name = "HOST", required = true, num_args = 1.., value_parser = host)]
    pub(crate) hosts: Vec<Host>,
}

fn name(text: &str) -> Result<String, &'static str> {
    let is_sound = (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    is_sound.then(|| text.to_owned()).ok_or("must be 1 to 64 characters without control characters")
}

fn host(text: &str) -> Result<Host, &'static str> {
    Host::parse(text)
}
