//! What can be typed behind `mayfly simulate`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use mayfly_core::Order;

/// What is simulated.
#[derive(Debug, Subcommand)]
pub(crate) enum Simulate {
    /// Writes sample messages, and says how long it took: 0 when all were accepted, 130 when interrupted
    Messages(SimulateMessages),
    /// Pages through all stored messages, with times per 100 pages: 0 when each came once, in the order of persistence
    Walk(SimulateWalk),
    /// Plays videos, and checks that what was played, counted and published is the same: 0 when it is, 130 when interrupted
    Plays(SimulatePlays),
    /// Removes the videos of all simulations of plays
    Reset,
}

/// Which messages are written.
#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub(crate) struct SimulateMessages {
    /// How many messages, 1 to 100,000,000
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = up_to(100_000_000))]
    pub(crate) messages: u64,
    /// How many messages a request, 1 to 1,000
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = up_to(1_000))]
    pub(crate) batch: u64,
    /// From how many users, 1 to 10,000,000; an inbox that is full refuses more
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = up_to(10_000_000))]
    pub(crate) users: u64,
    /// From how many cities, 1 to 1,000,000
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = up_to(1_000_000))]
    pub(crate) cities: u64,
    /// Makes the same messages again; else others each time
    #[arg(long, value_name = "N", value_parser = seed)]
    pub(crate) seed: Option<u64>,
    /// Where ingest-api is, instead of the local stack or MAYFLY_PUBLIC__INGEST_URL; several with commas, in turn
    #[arg(long, value_delimiter = ',', value_parser = plain_url)]
    pub(crate) url: Vec<String>,
}

/// How the walk goes.
#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub(crate) struct SimulateWalk {
    /// How many messages a page, 1 to 1,000
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = up_to(1_000))]
    pub(crate) limit: u64,
    /// asc: in the order of persistence; desc: newest first
    #[arg(long, default_value = "asc", value_parser = order)]
    pub(crate) order: Order,
    /// Where list-api is, instead of the local stack or MAYFLY_PUBLIC__LIST_URL; several with commas, in turn
    #[arg(long, value_delimiter = ',', value_parser = plain_url)]
    pub(crate) url: Vec<String>,
}

/// How videos are played.
#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub(crate) struct SimulatePlays {
    /// How many plays, 1 to 10,000,000; at least 100 a video
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = up_to(10_000_000))]
    pub(crate) messages: u64,
    /// Of how many videos, 1 to 10,000; a fifth of them get fewer than 100 plays
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = up_to(10_000))]
    pub(crate) videos: u64,
    /// How many processes of persist-worker count during the run, 1 to 64
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = up_to(64))]
    pub(crate) consumers: u64,
    /// How many requests at once for each of them, 1 to 64
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = up_to(64))]
    pub(crate) producers_per_consumer: u64,
    /// How often large counts are published during the run, 1 to 3,600 seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = up_to(3_600))]
    pub(crate) interval: u64,
    /// Counts while plays come in; else counting begins when all are queued
    #[arg(long)]
    pub(crate) live: bool,
    /// Starts the local stack, as `mayfly up` does, where none runs
    #[arg(long)]
    pub(crate) start: bool,
    /// Makes the same counts again; else others each time
    #[arg(long, value_name = "N", value_parser = seed)]
    pub(crate) seed: Option<u64>,
    /// Writes what was produced, counted and published, and how fast, to this file: four lines of JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
}

/// Reads a count of at least one.
fn up_to(most: u64) -> impl Fn(&str) -> Result<u64, String> + Clone {
    move |text| {
        let count = text.parse().ok().filter(|count| (1..=most).contains(count));
        count.ok_or_else(|| format!("a whole number from 1 to {most}"))
    }
}

fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("a whole number from 0 to {}", u64::MAX))
}

fn plain_url(text: &str) -> Result<String, &'static str> {
    let url = text.trim_end_matches('/');
    let is_plain = url.strip_prefix("http://").is_some_and(|rest| !rest.is_empty());
    if is_plain { Ok(url.to_owned()) } else { Err("a URL with http://") }
}

fn order(text: &str) -> Result<Order, &'static str> {
    match text {
        "asc" => Ok(Order::Asc),
        "desc" => Ok(Order::Desc),
        _ => Err("asc or desc"),
    }
}
