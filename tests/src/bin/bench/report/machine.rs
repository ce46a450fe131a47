//! A description of the machine.

use std::fs;

use crate::{cores, system::System};

/// Returns the load average of the last minute, on systems with `/proc`.
pub fn load_average() -> Option<String> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next().map(str::to_owned)
}

/// Describes the versions, the processor, and the load average before and after the run.
pub async fn describe(system: &System, before: Option<String>) -> anyhow::Result<String> {
    let client = redis::Client::open(system.redis_url())?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let info: redis::InfoDict =
        redis::cmd("INFO").arg("server").query_async(&mut connection).await?;
    let redis = info.get::<String>("redis_version").unwrap_or_default();
    let postgres = system.text("SHOW server_version").await?;
    let [before, after] = [before, load_average()].map(|load| load.unwrap_or_else(|| "?".into()));
    Ok(format!(
        "mayfly {}, Redis {redis} (everysec), PostgreSQL {postgres} (fsync on)\n\
         {} {}, {}, {} cores, load average {before} before and {after} after",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH,
        processor().unwrap_or_else(|| "unknown processor".to_owned()),
        cores(),
    ))
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim().to_owned())
}
