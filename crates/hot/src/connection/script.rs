//! Lua scripts: their declaration, arguments and replies.

use std::time::Duration;

use deadpool_redis::redis::{ErrorKind, RedisError};

/// Declares a static script that consists of the given sources. Redis runs the script by its hash
/// (`EVALSHA`). The client loads the script if it is not in the script cache of Redis.
macro_rules! script {
    ($name:ident, $($source:expr),+ $(,)?) => {
        static $name: std::sync::LazyLock<deadpool_redis::redis::Script> =
            std::sync::LazyLock::new(|| deadpool_redis::redis::Script::new(concat!($($source),+)));
    };
}
pub(crate) use script;

/// Returns a duration in milliseconds, the unit of script arguments.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the error for a reply that no script of this version sends.
pub(crate) fn unexpected_reply(description: &'static str) -> RedisError {
    RedisError::from((ErrorKind::UnexpectedReturnType, description))
}
