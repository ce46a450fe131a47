//! Draining: one `persist-worker` stores a full queue in Postgres, compared with `\copy` of the
//! same rows into a table of the same structure.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use tokio::process::Command;

use crate::{
    effort::{DRAINED_MESSAGES, Effort},
    report::{Comparison, Report, Row, median, rate, ratios},
    system::System,
};

/// The expected ratio.
const EXPECTED: f64 = 0.4;
const TTL_SECS: u32 = 60;

/// Measures draining and copying alternately.
pub async fn measure(
    system: &mut System,
    effort: &Effort,
    report: &mut Report,
) -> anyhow::Result<()> {
    system.execute("CREATE TABLE messages_copied (LIKE messages INCLUDING ALL)").await?;
    let (mut drained, mut copied) = (Vec::new(), Vec::new());
    for number in 1..=effort.drains {
        eprintln!("drain {number} of {} ...", effort.drains);
        drained.push(drain(system).await?);
        copied.push(copy(system).await?);
    }
    let rates = |times: &[Duration]| -> Vec<f64> {
        times.iter().map(|elapsed| rate(DRAINED_MESSAGES as u64, *elapsed)).collect()
    };
    let (drained, copied) = (rates(&drained), rates(&copied));
    let comparison = Comparison {
        ratios: ratios(&drained, &copied),
        cpu_ratios: Vec::new(),
        mayfly: median(drained),
        baseline: median(copied),
        latency: None,
        baseline_latency: None,
        failures: 0,
    };
    report.add(Row::new("drain", r"psql \copy", comparison).expecting(EXPECTED));
    Ok(())
}

/// Fills the queue and measures the time from the start of a worker until all messages are stored.
async fn drain(system: &mut System) -> anyhow::Result<Duration> {
    system.stop_worker().await?;
    system.execute("TRUNCATE messages").await?;
    system.post_messages(DRAINED_MESSAGES, TTL_SECS).await?;
    system.execute("CHECKPOINT").await?;
    let started = Instant::now();
    let (up, stored_at) = tokio::join!(system.start_worker(), system.wait_until_stored());
    let (elapsed, ()) = (stored_at? - started, up?);
    let stored = system.count("SELECT count(*) FROM messages").await?;
    ensure!(stored == DRAINED_MESSAGES as u64, "{stored} rows after a drain");
    Ok(elapsed)
}

/// Measures `\copy` of the rows that were just stored.
async fn copy(system: &System) -> anyhow::Result<Duration> {
    let file = system.root().join("messages.copy");
    psql(system, &copy_command("messages", "TO", &file)).await?;
    system.execute("TRUNCATE messages_copied").await?;
    system.execute("CHECKPOINT").await?;
    let started = Instant::now();
    psql(system, &copy_command("messages_copied", "FROM", &file)).await?;
    let elapsed = started.elapsed();
    let copied = system.count("SELECT count(*) FROM messages_copied").await?;
    ensure!(copied == DRAINED_MESSAGES as u64, "{copied} rows after a copy");
    Ok(elapsed)
}

fn copy_command(table: &str, direction: &str, file: &Path) -> String {
    format!(r"\copy {table} {direction} '{}'", file.display())
}

/// Runs a command in the psql of the server's installation.
async fn psql(system: &System, command: &str) -> anyhow::Result<()> {
    let bin_dir = system.text("SELECT setting FROM pg_config WHERE name = 'BINDIR'").await?;
    let bundled = Path::new(&bin_dir).join("psql");
    let program = if bundled.is_file() { bundled.as_path() } else { Path::new("psql") };
    let output = Command::new(program)
        .args(["--no-psqlrc", "--quiet", "--dbname", system.database_url(), "--command", command])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot run psql")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "psql failed: {}", error.trim());
    Ok(())
}
