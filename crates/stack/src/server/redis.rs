//! The stack's own Redis.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::error::StackError;
use crate::files::paths::{Paths, create_dir};
use crate::process::{Launch, Probe, StopPolicy};
use crate::programs::redis::find_redis;
use crate::topology::instance::{Instance, ProcessKind};

/// The Redis configuration that every installation of Mayfly uses. The stack appends its own
/// settings, such as the port and the data directory.
const CONFIG: &str = include_str!("../../../../deploy/redis.conf");

const STOP_POLICY: StopPolicy = StopPolicy {
    graceful: Signal::SIGTERM,
    timeout: Duration::from_secs(30),
    immediate: Signal::SIGKILL,
    // On SIGTERM, Redis writes its buffers before it exits.
    parent_death: Signal::SIGTERM,
};

/// Writes the configuration file and plans the Redis process.
pub(crate) fn plan_redis(paths: &Paths, port: u16, durable: bool) -> Result<Launch, StackError> {
    let instance = Instance::first(ProcessKind::Redis);
    let data = paths.redis();
    create_dir(&data, 0o700)?;
    let file = paths.redis_config();
    let fsync = if durable { "everysec" } else { "no" };
    fs::write(&file, format_config(&data, port, fsync)).map_err(StackError::io(&file))?;
    // The file also contains these settings. With the arguments, a change to a setting changes the
    // `Launch` and therefore restarts the process.
    let settings = ["--port", &port.to_string(), "--appendfsync", fsync].map(str::to_owned);
    Ok(Launch {
        program: find_redis()?,
        args: [file.display().to_string()].into_iter().chain(settings).collect(),
        env: BTreeMap::new(),
        working_dir: paths.data_dir(),
        account: None,
        ports: vec![port],
        log: paths.log(instance),
        pid_file: paths.pid_file(instance),
        marker: file.display().to_string(),
        probe: Probe::Redis(port),
        stop_policy: STOP_POLICY,
        exclusive_dir: None,
        build: None,
    })
}

fn format_config(data: &Path, port: u16, fsync: &str) -> String {
    let data = quote(&data.display().to_string());
    // The process title contains the path of the configuration file, which identifies orphans of
    // this stack.
    format!(
        "{CONFIG}\n# Settings of this stack.\nbind 127.0.0.1\nport {port}\ndir {data}\ndaemonize no\nlogfile \"\"\n\
         appendfsync {fsync}\nproc-title-template \"{{title}} {{listen-addr}} {{config-file}}\"\n"
    )
}

fn quote(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_with_spaces_and_quotes_is_quoted() {
        assert_eq!(quote(r#"/a b/"c""#), r#""/a b/\"c\"""#);
    }

    #[test]
    fn shared_configuration_is_durable_and_never_evicts() {
        for line in ["appendonly yes", "appendfsync everysec", "maxmemory-policy noeviction"] {
            assert!(CONFIG.lines().any(|present| present == line), "{line}");
        }
    }

    #[test]
    fn shared_configuration_limits_the_memory() {
        let limit = CONFIG.lines().find_map(|line| line.strip_prefix("maxmemory "));
        assert!(limit.is_some_and(|limit| !limit.starts_with('0')), "{limit:?}");
    }
}
