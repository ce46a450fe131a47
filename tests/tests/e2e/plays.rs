//! Plays: counted once, listed, published.

mod counting;
mod dead_letters;
mod exactly_once;
mod listing;
mod losses;
mod publishing;
mod pulse;
mod refused;

use mayfly_tests::{Counts, World};
use serde_json::{Value, json};

/// Plays of these videos, each so often, in an order in which they alternate.
fn plays_of(counts: &Counts) -> Vec<Value> {
    let most = counts.values().copied().max().unwrap_or(0);
    let round = |round| counts.iter().filter(move |(_, count)| **count > round);
    let all = (0..most).flat_map(round);
    all.map(|(video, _)| json!({"video_id": video})).collect()
}

/// The line of plays of an audit that adds up: accepted, stored, queued, dead-lettered.
async fn ledger(world: &World) -> [u64; 4] {
    let (adds_up, words) = world.audit().await;
    assert!(adds_up, "{words}");
    let line = words.lines().find_map(|line| line.strip_prefix("plays "));
    let numbers = line.unwrap_or_else(|| panic!("{words}")).split_whitespace();
    let numbers: Vec<u64> = numbers.map(|number| number.parse().expect("a number")).collect();
    numbers.try_into().expect("there are four")
}

/// So many videos named like this, each with so many plays.
fn videos(name: &str, videos: usize, plays: u64) -> Counts {
    (0..videos).map(|number| (format!("{name}-{number:04}"), plays)).collect()
}
