//! Plays: counting, listing and publishing.

mod counting;
mod dead_letters;
mod exactly_once;
mod listing;
mod losses;
mod publishing;
mod pulse;
mod rejections;

use mayfly_tests::{Counts, World};
use serde_json::{Value, json};

/// Returns the plays that result in these counts, with alternating videos.
fn plays_of(counts: &Counts) -> Vec<Value> {
    let max = counts.values().copied().max().unwrap_or(0);
    let round = |round| counts.iter().filter(move |(_, count)| **count > round);
    let all = (0..max).flat_map(round);
    all.map(|(video, _)| json!({"video_id": video})).collect()
}

/// Runs a passing audit and returns its counts of plays: accepted, stored, queued, dead-lettered.
async fn ledger(world: &World) -> [u64; 4] {
    let (passed, output) = world.audit().await;
    assert!(passed, "{output}");
    let line = output.lines().find_map(|line| line.strip_prefix("plays "));
    let numbers = line.unwrap_or_else(|| panic!("{output}")).split_whitespace();
    let numbers: Vec<u64> = numbers.map(|number| number.parse().expect("a number")).collect();
    numbers.try_into().expect("four numbers")
}

/// Returns `videos` videos with this name prefix and `plays` plays each.
fn videos(name: &str, videos: usize, plays: u64) -> Counts {
    (0..videos).map(|number| (format!("{name}-{number:04}"), plays)).collect()
}
