//! Lua scripts: their declaration, arguments and replies.

use std::time::Duration;

use deadpool_redis::redis::{ErrorKind, RedisError};

/// Declares a static script made of the given sources. It is run by its hash (`EVALSHA`) and loaded
/// where Redis does not have it yet.
macro_rules! script {
    ($name:ident, $($source:expr),+ $(,)?) => {
        static $name: std::sync::LazyLock<deadpool_redis::redis::Script> =
            std::sync::LazyLock::new(|| deadpool_redis::redis::Script::new(concat!($($source),+)));
    };
}
pub(crate) use script;

/// Returns a duration in milliseconds, as scripts expect it.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the error for a reply that the script of this version never sends.
pub(crate) fn unexpected_reply(description: &'static str) -> RedisError {
    RedisError::from((ErrorKind::UnexpectedReturnType, description))
}
