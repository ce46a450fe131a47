//! What can be typed.

mod keys;
mod simulate;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use mayfly_core::Channel;
use mayfly_runtime::settings::parse_duration;
use mayfly_stack::Part;

pub(crate) use keys::{CreateKey, Keys};
pub(crate) use simulate::{Simulate, SimulateMessages, SimulatePlays, SimulateWalk};

/// Runs Mayfly on this machine, and looks after it wherever it runs.
#[derive(Debug, Parser)]
#[command(name = "mayfly", version)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// One file in `commands/` for each.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Brings the local stack to what is asked for, in the background, and returns when every service is ready
    Up(Wishes),
    /// Does the same in the foreground, shows the log, and stops all when it is interrupted
    Run(Wishes),
    /// Stops the local stack; its data stays
    Down,
    /// Says how every process of the local stack is
    Status,
    /// Starts a service, redis, postgres or s3 that was stopped, and returns when it is up
    Start(Named),
    /// Ends a service, redis, postgres or s3 as an operator would, and returns when it is down
    Stop(Named),
    /// Stops the local stack and deletes its data
    Reset,
    /// Brings the schema in Postgres up to date
    Migrate,
    /// Makes API keys, shows which there are, and revokes them
    #[command(subcommand)]
    Keys(Keys),
    /// Checks that everything accepted is stored, queued or dead-lettered: 0 when it adds up, 1 when not
    Audit(Audit),
    /// Shows messages as they are published, and goes on where it was when the connection breaks
    Tail(Tail),
    /// Writes sample messages to the local stack, walks through all that is stored there, or has plays counted
    #[command(subcommand)]
    Simulate(Simulate),
    /// Shows the configuration
    #[command(subcommand)]
    Config(Config),
    /// Installs what the local stack needs and the machine has not
    #[command(hide = true)]
    EnsureInstalled,
    /// Supervises the local stack; `up` starts it
    #[command(hide = true)]
    Supervise,
    /// Serves the files of a directory over the S3 protocol, where there is no other S3
    ServeS3(ServeS3),
}

/// What the local stack should be.
#[derive(Debug, Args)]
pub(crate) struct Wishes {
    /// How many of each service, one where nothing is said: "ws-fanout=2 persist-worker=3"
    #[arg(long, env = "SCALE", default_value = "")]
    pub(crate) scale: String,
    /// The port of ws-fanout; the others count from it
    #[arg(long, env = "MAYFLY_PORT_BASE", default_value_t = 8080)]
    pub(crate) port_base: u16,
    /// A Redis to use instead of the stack's own
    #[arg(long)]
    pub(crate) redis_url: Option<String>,
    /// A Postgres to use instead of the stack's own
    #[arg(long)]
    pub(crate) database_url: Option<String>,
    /// An S3 server to use instead of the stack's own, with the keys from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
    #[arg(long)]
    pub(crate) s3_endpoint: Option<String>,
}

/// A part of the stack.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// ingest-api, list-api, ws-fanout, persist-worker, stats-publisher, redis, postgres or s3
    pub(crate) name: Part,
}

/// How the ledger is checked.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// How long to wait for the sum to settle, such as 60s
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub(crate) wait: Duration,
    /// Fails also where an ended epoch lost something
    #[arg(long)]
    pub(crate) all: bool,
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    parse_duration(text).ok_or("a duration such as 250ms, 30s, 10m or 24h")
}

/// What is shown of the live feed.
#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// Shows only this channel; may be given several times
    #[arg(long = "channel", value_name = "NAME", value_parser = channel)]
    pub(crate) channels: Vec<Channel>,
    /// Where ws-fanout is, instead of the local stack or MAYFLY_PUBLIC__LIVE_URL
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// Prints the frames of messages, expiries and gaps as they come, each a line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

fn channel(text: &str) -> Result<Channel, &'static str> {
    Channel::parse(text)
}

/// What of the configuration is shown.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Prints every key with its default and meaning, as an environment file
    Env,
    /// Prints the same as a table in Markdown
    Table,
}

/// Where the S3 server listens, and where its files are. Its keys come from the environment.
#[derive(Debug, Args)]
pub(crate) struct ServeS3 {
    /// The address and port it listens on
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    /// The directory of the files; a bucket is a directory in it
    #[arg(long)]
    pub(crate) root: PathBuf,
    /// Only says whether one listens there already: 0 if so, else 1
    #[arg(long)]
    pub(crate) check: bool,
    #[arg(long, env = "AWS_ACCESS_KEY_ID", hide_env_values = true)]
    pub(crate) access_key: String,
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true)]
    pub(crate) secret_key: String,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn a_part_is_named_as_its_binary() {
        let line =
            CommandLine::try_parse_from(["mayfly", "stop", "ws-fanout"]).expect("well formed");
        assert!(matches!(line.command, Command::Stop(named) if named.name.name() == "ws-fanout"));
        assert!(CommandLine::try_parse_from(["mayfly", "stop", "mongodb"]).is_err());
    }
}
