//! The command line of `mayfly simulate`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use mayfly_core::Order;
use mayfly_live_client::KeyFile;

/// The subcommands of `mayfly simulate`.
#[derive(Debug, Subcommand)]
pub enum Simulate {
    /// Post sample messages and report the throughput; exit with 1 if not all were accepted
    Messages(MessagesOptions),
    /// Page through all stored messages and check their order and completeness; exit with 1 if the
    /// check fails
    Walk(WalkOptions),
    /// Simulate video plays and check that produced, counted and published plays match; exit with 1
    /// if not
    Plays(PlaysOptions),
    /// Delete the videos of all simulations
    Reset,
}

/// Options for sample messages.
#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub struct MessagesOptions {
    /// Number of messages, 1 to 100,000,000
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = up_to(100_000_000))]
    pub messages: u64,
    /// Messages per request, 1 to 1,000
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = up_to(1_000))]
    pub batch: u64,
    /// Number of users, 1 to 10,000,000; with too few users, inboxes fill up and reject messages
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = up_to(10_000_000))]
    pub users: u64,
    /// Number of cities, 1 to 1,000,000
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = up_to(1_000_000))]
    pub cities: u64,
    /// Seed for the random messages (default: random)
    #[arg(long, value_name = "N", value_parser = seed)]
    pub seed: Option<u64>,
    /// Comma-separated URLs of ingest-api, used in rotation (default: the local stack or
    /// MAYFLY_PUBLIC__INGEST_URL)
    #[arg(long, value_delimiter = ',', value_parser = http_url)]
    pub url: Vec<String>,
    /// File with an API key that has the scope publish
    #[arg(long, env = "MAYFLY_KEY_FILE", value_name = "FILE")]
    pub key_file: Option<KeyFile>,
}

/// Options for the walk.
#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub struct WalkOptions {
    /// Messages per page, 1 to 1,000
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = up_to(1_000))]
    pub limit: u64,
    /// asc: oldest first; desc: newest first
    #[arg(long, default_value = "asc", value_parser = order)]
    pub order: Order,
    /// Comma-separated URLs of list-api, used in rotation (default: the local stack or
    /// MAYFLY_PUBLIC__LIST_URL)
    #[arg(long, value_delimiter = ',', value_parser = http_url)]
    pub url: Vec<String>,
    /// File with an API key that has the scope read
    #[arg(long, env = "MAYFLY_KEY_FILE", value_name = "FILE")]
    pub key_file: Option<KeyFile>,
}

/// Options for simulated plays.
#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub struct PlaysOptions {
    /// Number of plays, 1 to 10,000,000; at least 100 per video on average
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = up_to(10_000_000))]
    pub messages: u64,
    /// Number of videos, 1 to 10,000; a fifth of them receive fewer than 100 plays
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = up_to(10_000))]
    pub videos: u64,
    /// Number of persist-worker processes during the run, 1 to 64
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = up_to(64))]
    pub consumers: u64,
    /// Concurrent requests per persist-worker, 1 to 64
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = up_to(64))]
    pub producers_per_consumer: u64,
    /// Interval between publications of large counts during the run, 1 to 3,600 seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = up_to(3_600))]
    pub interval: u64,
    /// Count plays as they arrive (default: start counting after all plays are queued)
    #[arg(long)]
    pub live: bool,
    /// Start the local stack if it is down, as `mayfly up` does
    #[arg(long)]
    pub start: bool,
    /// Seed for the random counts (default: random)
    #[arg(long, value_name = "N", value_parser = seed)]
    pub seed: Option<u64>,
    /// File for the produced, counted and published plays and the throughput, as four lines of JSON
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// File with an API key that has the scopes publish and subscribe
    #[arg(long, env = "MAYFLY_KEY_FILE", value_name = "FILE")]
    pub key_file: Option<KeyFile>,
}

/// Returns a parser for an integer from 1 to `max`.
fn up_to(max: u64) -> impl Fn(&str) -> Result<u64, String> + Clone {
    move |text| {
        let count = text.parse().ok().filter(|count| (1..=max).contains(count));
        count.ok_or_else(|| format!("expected an integer from 1 to {max}"))
    }
}

fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("expected an integer from 0 to {}", u64::MAX))
}

fn http_url(text: &str) -> Result<String, &'static str> {
    let url = text.trim_end_matches('/');
    let is_http = url.strip_prefix("http://").is_some_and(|rest| !rest.is_empty());
    if is_http { Ok(url.to_owned()) } else { Err("expected a URL that starts with http://") }
}

fn order(text: &str) -> Result<Order, &'static str> {
    match text {
        "asc" => Ok(Order::Asc),
        "desc" => Ok(Order::Desc),
        _ => Err("expected asc or desc"),
    }
}
