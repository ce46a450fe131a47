//! What it costs to read the statistics.

use std::time::{Duration, Instant};

use mayfly_stack::SharedServers;
use mayfly_tests::short_or_full;

use mayfly_cold::migrations;

use super::Counts;

const ROUNDS: usize = 300;
/// How much more it may take with a thousand times as much, or fifty times beside other tests.
fn factor_max() -> f64 {
    short_or_full(4.0, 1.5)
}

/// Messages of as many seconds, whatever their number, of a fifth as many users and a fiftieth as
/// many cities.
const INSERT: &str = "
    INSERT INTO messages (id, seq, channel, username, text, city, state, created_at, expires_at, body_bytes)
    SELECT gen_random_uuid(), n, 'lobby', 'user ' || n % ($2::bigint / 5), 'text ' || n,
        'city ' || n % ($2 / 50), 'NY', now() - n % 1000 * interval '1 second', now(), 100
    FROM generate_series($1::bigint, $2) AS n";

/// A database with so many messages.
async fn filled(count: i64) -> Counts {
    let servers = SharedServers::get().await.expect("the shared servers start");
    let url = servers.create_database(&format!("cost_{count}")).await;
    let url = url.expect("a database can be made");
    migrations::run(&url.as_str().into(), |_| {}).await.expect("the schema can be made");
    let counts = Counts::at(&url);
    let client = counts.connect().await;
    client.execute(INSERT, &[&1_i64, &count]).await.expect("messages can be stored");
    let seen = counts.assert_true().await;
    assert_eq!(i64::try_from(seen.messages.total).ok(), Some(count));
    counts
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_of_a_thousand_times_as_much_take_no_longer() {
    let many = short_or_full(50_000, 1_000_000);
    let databases = [filled(1_000).await, filled(many).await];
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (counts, times) in databases.iter().zip(&mut times) {
            let asked = Instant::now();
            counts.read().await.expect("they are counted");
            times.push(asked.elapsed());
        }
    }
    let [few_take, many_take] = times.map(|mut times| median(&mut times));
    let factor = many_take.as_secs_f64() / few_take.as_secs_f64();
    println!("1000 messages {few_take:?}, {many} messages {many_take:?}: {factor:.2}");
    assert!(factor < factor_max(), "{few_take:?}, with {many} messages {many_take:?}");
}
