//! Counting: a full queue of plays into Postgres by one persist-worker, few videos seen before against
//! a million.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};

use crate::{
    effort::{COUNTED_PLAYS, Effort},
    report::{Measured, Report, Row},
    statistics::{median, rate},
    system::System,
};

/// What the ratio is expected to be: what a play costs does not depend on the videos seen before.
const EXPECTED: f64 = 1.0 / 1.5;
/// Videos that are played.
const VIDEOS: usize = 100;
/// Videos that were played before, in the second series.
const SEEN: usize = 1_000_000;
/// How long it may take until all is counted.
const COUNT_WITHIN: Duration = Duration::from_mins(1);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Measures both in turns.
pub async fn measure(
    system: &mut System,
    effort: &Effort,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for number in 1..=effort.counts {
        eprintln!("count {number} of {} ...", effort.counts);
        few.push(count(system, 0, &format!("few-{number}")).await?);
        many.push(count(system, SEEN, &format!("many-{number}")).await?);
    }
    let rates = |times: &[Duration]| -> Vec<f64> {
        times.iter().map(|elapsed| rate(COUNTED_PLAYS as u64, *elapsed)).collect()
    };
    let (few, many) = (rates(&few), rates(&many));
    let measured = Measured {
        ratios: many.iter().zip(&few).map(|(many, few)| many / few).collect(),
        ours: median(many),
        other: median(few),
        latency: None,
        other_latency: None,
        failures: 0,
    };
    report.add(Row::new("count plays, 1M seen", "none seen", measured).expecting(EXPECTED));
    Ok(())
}

/// Fills the queue, then takes the time from the start of a worker until all is counted. The videos
/// have names of their own, so that Redis does not know their counts from an earlier turn.
async fn count(system: &mut System, seen: usize, names: &str) -> anyhow::Result<Duration> {
    const PLAYS: &str = "SELECT plays FROM play_totals";
    system.stop_worker().await?;
    system.execute("TRUNCATE play_counts").await?;
    system
        .execute(&format!(
            "INSERT INTO play_counts SELECT 'seen-' || n, 1, now() FROM generate_series(1, {seen}) AS n"
        ))
        .await?;
    system.execute("VACUUM ANALYZE play_counts").await?;
    system.execute("CHECKPOINT").await?;
    let before = system.count(PLAYS).await?;
    system.post_plays(COUNTED_PLAYS, VIDEOS, names).await?;
    let started = Instant::now();
    let counted = async {
        loop {
            let counted = system.count(PLAYS).await? - before;
            if counted == COUNTED_PLAYS as u64 {
                return anyhow::Ok(started.elapsed());
            }
            ensure!(counted < COUNTED_PLAYS as u64, "{counted} counted");
            if started.elapsed() > COUNT_WITHIN {
                bail!("{counted} counted within {COUNT_WITHIN:?}");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let (up, elapsed) = tokio::join!(system.start_worker(), counted);
    up?;
    elapsed
}
