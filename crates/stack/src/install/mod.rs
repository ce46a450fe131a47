//! Installs what the stack needs and the machine has not.

mod apt;
mod brew;

use crate::error::StackError;
use crate::server::postgres_binaries::PostgresBinaries;
use crate::server::redis::find_redis;

/// Something the stack needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Redis,
    Postgres,
}

impl Need {
    fn check(self) -> Result<(), StackError> {
        match self {
            Self::Redis => find_redis().map(drop),
            Self::Postgres => PostgresBinaries::find(None).map(drop),
        }
    }
}

/// Makes sure that `redis-server` (7.0 or newer) and PostgreSQL (15 or newer) are there, as far as each is needed, and
/// installs what is not. What is installed neither runs nor is enabled as a service of the system.
pub fn ensure_installed(redis: bool, postgres: bool) -> Result<(), StackError> {
    let needs = [(redis, Need::Redis), (postgres, Need::Postgres)];
    let missing: Vec<_> =
        needs.into_iter().filter(|(needed, need)| *needed && need.check().is_err()).collect();
    let missing: Vec<_> = missing.into_iter().map(|(_, need)| need).collect();
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
