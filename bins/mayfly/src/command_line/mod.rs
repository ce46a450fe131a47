//! The command line.

mod keys;
mod lifetime;
mod tokens;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use mayfly_core::Channel;
use mayfly_live_client::KeyFile;
use mayfly_runtime::settings::parse_duration;
use mayfly_simulate::Simulate;
use mayfly_stack::ProcessKind;

pub(crate) use keys::{CreateKey, Keys, LimitedKind, ListKeys, RotateKey, SelectKey};
pub(crate) use tokens::{CreateToken, ListRevocations, RevokeTokens, Tokens};

/// Run the local stack of Mayfly, and operate any installation
#[derive(Debug, Parser)]
#[command(name = "mayfly", version)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The subcommands. Each one has its own file below `commands/`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the local stack in the background, or apply changes to it; return when every service
    /// is ready
    Up(StackOptions),
    /// Start the local stack in the foreground, show its log, and stop it on Ctrl-C
    Run(StackOptions),
    /// Stop the local stack and keep its data
    Down,
    /// Show the status of every process of the local stack; exit with 3 if the stack is down
    Status(Status),
    /// Start a stopped service or server (redis, postgres or s3); return when it is up
    Start(ProcessName),
    /// Stop a service or server (redis, postgres or s3) gracefully; return when it is down
    Stop(ProcessName),
    /// Stop the local stack and delete its data, after confirmation
    Reset(Reset),
    /// Apply the schema migrations to Postgres
    Migrate,
    /// Create, list, show, rotate and revoke API keys
    #[command(subcommand)]
    Keys(Keys),
    /// Sign and revoke tokens
    #[command(subcommand)]
    Token(Tokens),
    /// Check that every accepted item is stored, queued or dead-lettered; exit with 1 if not
    Audit(Audit),
    /// Print messages as they are published; resume after a disconnect
    Tail(Tail),
    /// Post sample messages, page through all stored messages, or simulate video plays
    #[command(subcommand)]
    Simulate(Simulate),
    /// Print the configuration reference
    #[command(subcommand)]
    Config(Config),
    /// Install the missing programs that the local stack and its tests need
    #[command(hide = true)]
    EnsureInstalled,
    /// Wait for a signal, so that a container stays available for `kubectl exec`
    #[command(hide = true)]
    Pause,
    /// Supervise the local stack; started by `mayfly up`
    #[command(hide = true)]
    Supervise,
    /// Serve a directory over the S3 protocol
    ServeS3(ServeS3),
}

/// Options of the local stack.
#[derive(Debug, Args)]
pub(crate) struct StackOptions {
    /// Number of instances per service, such as "ws-fanout=2 persist-worker=3" (default: one each)
    #[arg(long, env = "SCALE")]
    pub(crate) scale: Option<String>,
    /// Port of ws-fanout; the other ports are relative to it (default: 8080)
    #[arg(long, env = "MAYFLY_PORT_BASE")]
    pub(crate) port_base: Option<u16>,
    /// URL of the Redis to use instead of the stack's own
    #[arg(long)]
    pub(crate) redis_url: Option<String>,
    /// URL of the Postgres to use instead of the stack's own
    #[arg(long)]
    pub(crate) database_url: Option<String>,
    /// URL of the S3 server to use instead of the stack's own, with AWS_ACCESS_KEY_ID and
    /// AWS_SECRET_ACCESS_KEY
    #[arg(long)]
    pub(crate) s3_endpoint: Option<String>,
    /// Apply the options even if settings of the running stack are missing
    #[arg(long)]
    pub(crate) apply: bool,
}

/// Options of `mayfly status`.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Print the status as a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `mayfly reset`.
#[derive(Debug, Args)]
pub(crate) struct Reset {
    /// Delete the data without asking; required if standard input is not a terminal
    #[arg(long)]
    pub(crate) yes: bool,
}

/// The name of a service or server.
#[derive(Debug, Args)]
pub(crate) struct ProcessName {
    /// ingest-api, list-api, ws-fanout, persist-worker, stats-publisher, redis, postgres or s3
    pub(crate) name: ProcessKind,
}

/// Options of `mayfly audit`.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// Maximum time to wait for the ledger to balance, such as 60s
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub(crate) wait: Duration,
    /// Also fail if an earlier epoch lost items or may have lost items
    #[arg(long)]
    pub(crate) all: bool,
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    parse_duration(text).ok_or("expected a duration such as 250ms, 30s, 10m or 24h")
}

/// Options of `mayfly tail`.
#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// Print only messages of this channel; can be repeated
    #[arg(long = "channel", value_name = "NAME", value_parser = channel)]
    pub(crate) channels: Vec<Channel>,
    /// URL of ws-fanout (default: the local stack or MAYFLY_PUBLIC__LIVE_URL)
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// File with an API key that has the scope subscribe, or with a token; read again before each
    /// reconnect
    #[arg(long, env = "MAYFLY_KEY_FILE", value_name = "FILE")]
    pub(crate) key_file: Option<KeyFile>,
    /// Print message, expiry and gap frames as JSON lines
    #[arg(long)]
    pub(crate) json: bool,
}

fn channel(text: &str) -> Result<Channel, &'static str> {
    Channel::parse(text)
}

/// Formats of the configuration reference.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Print every key with its default and description as an environment file
    Env,
    /// Print every key with its default and description as a Markdown table
    Table,
}

/// Options of `mayfly serve-s3`.
#[derive(Debug, Args)]
pub(crate) struct ServeS3 {
    /// Address and port to listen on
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    /// Directory to serve; every subdirectory is a bucket
    #[arg(long)]
    pub(crate) root: PathBuf,
    /// Only check whether a server is listening on the address; exit with 1 if not
    #[arg(long)]
    pub(crate) check: bool,
    /// Access key that clients must use
    #[arg(long, env = "AWS_ACCESS_KEY_ID", hide_env_values = true)]
    pub(crate) access_key: String,
    /// Secret key that clients must use
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true)]
    pub(crate) secret_key: String,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn command_line_is_valid() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn process_is_named_after_its_binary() {
        let line = CommandLine::try_parse_from(["mayfly", "stop", "ws-fanout"]).expect("valid");
        assert!(
            matches!(line.command, Command::Stop(process) if process.name.name() == "ws-fanout")
        );
        assert!(CommandLine::try_parse_from(["mayfly", "stop", "mongodb"]).is_err());
    }
}
