//! Counting plays: one `persist-worker` drains a full queue of plays into Postgres, with and
//! without a million other videos in the table.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};

use crate::{
    effort::{COUNTED_PLAYS, Effort},
    report::{Comparison, Report, Row, median, rate, ratios},
    system::System,
};

/// The expected ratio: the cost of a play must not depend on the number of known videos.
const EXPECTED: f64 = 1.0 / 1.5;
/// The number of played videos.
const VIDEOS: usize = 100;
/// The number of other videos in the second series.
const KNOWN_VIDEOS: usize = 1_000_000;
/// How long counting may take.
const COUNT_TIMEOUT: Duration = Duration::from_mins(1);
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Measures both cases alternately.
pub async fn measure(
    system: &mut System,
    effort: &Effort,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for number in 1..=effort.counts {
        eprintln!("count {number} of {} ...", effort.counts);
        few.push(count(system, 0, &format!("few-{number}")).await?);
        many.push(count(system, KNOWN_VIDEOS, &format!("many-{number}")).await?);
    }
    let rates = |times: &[Duration]| -> Vec<f64> {
        times.iter().map(|elapsed| rate(COUNTED_PLAYS as u64, *elapsed)).collect()
    };
    let (few, many) = (rates(&few), rates(&many));
    let comparison = Comparison {
        ratios: ratios(&many, &few),
        cpu_ratios: Vec::new(),
        mayfly: median(many),
        baseline: median(few),
        latency: None,
        baseline_latency: None,
        failures: 0,
    };
    report.add(Row::new("count plays, 1M known", "none known", comparison).expecting(EXPECTED));
    Ok(())
}

/// Fills the queue and measures the time from the start of a worker until all plays are counted.
/// Each run uses its own prefix for video IDs, so that Redis has no counts from an earlier run.
async fn count(
    system: &mut System,
    known_videos: usize,
    name_prefix: &str,
) -> anyhow::Result<Duration> {
    const PLAYS: &str = "SELECT plays FROM play_totals";
    system.stop_worker().await?;
    system.execute("TRUNCATE play_counts").await?;
    system
        .execute(&format!(
            "INSERT INTO play_counts SELECT 'known-' || n, 1, now() FROM generate_series(1, {known_videos}) AS n"
        ))
        .await?;
    system.execute("VACUUM ANALYZE play_counts").await?;
    system.execute("CHECKPOINT").await?;
    let before = system.count(PLAYS).await?;
    system.post_plays(COUNTED_PLAYS, VIDEOS, name_prefix).await?;
    let started = Instant::now();
    let counted = async {
        loop {
            let counted = system.count(PLAYS).await? - before;
            if counted == COUNTED_PLAYS as u64 {
                return anyhow::Ok(started.elapsed());
            }
            ensure!(counted < COUNTED_PLAYS as u64, "{counted} counted");
            if started.elapsed() > COUNT_TIMEOUT {
                bail!("{counted} counted within {COUNT_TIMEOUT:?}");
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    let (up, elapsed) = tokio::join!(system.start_worker(), counted);
    up?;
    elapsed
}
