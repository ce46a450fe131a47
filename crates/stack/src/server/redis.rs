//! The stack's own Redis.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::error::StackError;
use crate::instance::{Instance, Part};
use crate::paths::{Paths, create_dir};
use crate::probe::Probe;
use crate::process::{Ending, Launch};

/// What every Mayfly's Redis is; the stack adds where it listens and keeps its files.
const CONFIGURATION: &str = include_str!("../../../../deploy/redis.conf");

/// The oldest that has everything we use.
const VERSION_MIN: (u32, u32) = (7, 0);

const ENDING: Ending = Ending {
    ask: Signal::SIGTERM,
    within: Duration::from_secs(30),
    hurry: Signal::SIGKILL,
    // It writes what it still has in memory, and goes.
    orphaned: Signal::SIGTERM,
};

/// Finds a `redis-server` that is new enough.
pub(crate) fn find_redis() -> Result<PathBuf, StackError> {
    let program =
        super::find_program("redis-server", &["/usr/sbin", "/usr/local/bin", "/opt/homebrew/bin"])
            .ok_or_else(|| {
                StackError::Missing(
                    "redis-server is not installed (7.0 or newer is needed)".to_owned(),
                )
            })?;
    match read_version(&program) {
        Some(version) if version >= VERSION_MIN => Ok(program),
        Some((major, minor)) => {
            let path = program.display();
            Err(StackError::Missing(format!(
                "{path} is {major}.{minor}, and 7.0 or newer is needed"
            )))
        }
        None => {
            Err(StackError::Missing(format!("{} does not tell its version", program.display())))
        }
    }
}

/// Writes the configuration and says how Redis is started.
pub(crate) fn launch_redis(paths: &Paths, port: u16, durable: bool) -> Result<Launch, StackError> {
    let instance = Instance::first(Part::Redis);
    let data = paths.redis();
    create_dir(&data, 0o700)?;
    let file = paths.home().join("redis.conf");
    let text = configuration(&data, port, durable);
    fs::write(&file, text).map_err(StackError::io(&file))?;
    Ok(Launch {
        program: find_redis()?,
        // The port stands in the file too; here it makes another port another launch.
        args: vec![file.display().to_string(), "--port".to_owned(), port.to_string()],
        env: BTreeMap::new(),
        dir: paths.home(),
        account: None,
        ports: vec![port],
        log: paths.log(instance),
        pid_file: paths.pid(instance),
        mark: file.display().to_string(),
        probe: Probe::Redis(port),
        ending: ENDING,
        alone_in: None,
        build: None,
    })
}

fn configuration(data: &Path, port: u16, durable: bool) -> String {
    let data = quote(&data.display().to_string());
    let fsync = if durable { "everysec" } else { "no" };
    // The title shows the path of this file, by which a later supervisor knows its own.
    format!(
        "{CONFIGURATION}\n# Of this stack alone.\nbind 127.0.0.1\nport {port}\ndir {data}\ndaemonize no\nlogfile \"\"\n\
         appendfsync {fsync}\nproc-title-template \"{{title}} {{listen-addr}} {{config-file}}\"\n"
    )
}

fn quote(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Asks a Redis or a descendant of it (`Redis server v=7.0.15 …`) for its version.
fn read_version(program: &Path) -> Option<(u32, u32)> {
    let said = Command::new(program).arg("--version").output().ok()?;
    parse_version(&String::from_utf8_lossy(&said.stdout))
}

fn parse_version(said: &str) -> Option<(u32, u32)> {
    let version = said.split_whitespace().find_map(|word| word.strip_prefix("v="))?;
    let mut numbers = version.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_what_redis_says() {
        let said = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64";
        assert_eq!(parse_version(said), Some((7, 0)));
        assert_eq!(parse_version("command not found"), None);
    }

    #[test]
    fn a_path_with_blanks_and_quotes_stays_one_word() {
        assert_eq!(quote(r#"/a b/"c""#), r#""/a b/\"c\"""#);
    }

    #[test]
    fn the_shared_configuration_loses_nothing_and_evicts_nothing() {
        for line in ["appendonly yes", "appendfsync everysec", "maxmemory-policy noeviction"] {
            assert!(CONFIGURATION.lines().any(|known| known == line), "{line}");
        }
    }
}
