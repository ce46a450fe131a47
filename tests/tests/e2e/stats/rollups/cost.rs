//! The cost of reading the statistics.

use std::time::{Duration, Instant};

use mayfly_stack::SharedServers;
use mayfly_tests::short_or_full;

use mayfly_cold::migrations;

use super::Counts;

const ROUNDS: usize = 300;

/// The maximum slowdown with a thousand times as many messages (fifty times in a short run).
fn max_factor() -> f64 {
    short_or_full(4.0, 1.5)
}

/// Inserts messages of 1,000 seconds, with one user per five and one city per fifty messages.
const INSERT: &str = "
    INSERT INTO messages (id, seq, channel, username, text, city, state, created_at, expires_at, body_bytes)
    SELECT gen_random_uuid(), n, 'lobby', 'user ' || n % ($2::bigint / 5), 'text ' || n,
        'city ' || n % ($2 / 50), 'NY', now() - n % 1000 * interval '1 second', now(), 100
    FROM generate_series($1::bigint, $2) AS n";

/// Creates a database with this number of messages.
async fn create_filled(count: i64) -> Counts {
    let servers = SharedServers::get().await.expect("the shared servers start");
    let url = servers.create_database(&format!("cost_{count}")).await;
    let url = url.expect("the database is created");
    migrations::run(&url.as_str().into(), |_| {}).await.expect("the schema is created");
    let counts = Counts::with_url(&url);
    let client = counts.connect().await;
    client.execute(INSERT, &[&1_i64, &count]).await.expect("the messages are stored");
    let snapshot = counts.assert_consistent().await;
    assert_eq!(i64::try_from(snapshot.messages.total).ok(), Some(count));
    counts
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_statistics_does_not_slow_down_with_more_messages() {
    let many = short_or_full(50_000, 1_000_000);
    let databases = [create_filled(1_000).await, create_filled(many).await];
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (counts, times) in databases.iter().zip(&mut times) {
            let started = Instant::now();
            counts.read().await.expect("the rollups exist");
            times.push(started.elapsed());
        }
    }
    let [few, many_median] = times.map(|mut times| median(&mut times));
    let factor = many_median.as_secs_f64() / few.as_secs_f64();
    println!("1000 messages {few:?}, {many} messages {many_median:?}: {factor:.2}");
    assert!(factor < max_factor(), "{few:?}, with {many} messages {many_median:?}");
}
