//! Installs what the stack and its tests need and the machine has not.

mod apt;
mod brew;

use crate::chromium::{find_chromium, has_chromium_as_snap_only};
use crate::error::StackError;
use crate::server::postgres_binaries::PostgresBinaries;
use crate::server::redis::find_redis;
use crate::tool::find_tool;

/// Something that has to be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// `redis-server`, 7.0 or newer.
    Redis,
    /// PostgreSQL, 15 or newer.
    Postgres,
    /// Chromium, for the tests of the page.
    Chromium,
    /// nginx, for the tests of what stands in front of the services.
    Nginx,
    /// Prometheus, for the tests of rules and dashboard.
    Prometheus,
}

impl Need {
    fn check(self) -> Result<(), StackError> {
        match self {
            Self::Redis => find_redis().map(drop),
            Self::Postgres => PostgresBinaries::find(None).map(drop),
            Self::Chromium => find_chromium().map(drop),
            Self::Nginx => find_tool("nginx").map(drop),
            Self::Prometheus => find_tool("prometheus").and(find_tool("promtool")).map(drop),
        }
    }
}

/// Makes sure that what is needed is there, and installs what is not. What is installed neither runs nor is enabled as
/// a service of the system.
pub fn ensure_installed(needs: &[Need]) -> Result<(), StackError> {
    let missing: Vec<_> = needs.iter().copied().filter(|need| need.check().is_err()).collect();
    if missing.contains(&Need::Chromium) && has_chromium_as_snap_only() {
        return Err(StackError::Missing(
            "the tests of the page need a browser; `snap install chromium` brings one".to_owned(),
        ));
    }
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing)?;
    missing.into_iter().try_for_each(Need::check)
}

fn install(missing: &[Need]) -> Result<(), StackError> {
    if apt::is_here() {
        apt::install(missing)
    } else if brew::is_here() {
        brew::install(missing)
    } else {
        let reasons =
            missing.iter().filter_map(|need| need.check().err()).map(|error| error.to_string());
        Err(StackError::Missing(
            reasons
                .chain(["please install what is missing".to_owned()])
                .collect::<Vec<_>>()
                .join("; "),
        ))
    }
}
