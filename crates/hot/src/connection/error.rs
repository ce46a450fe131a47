//! Errors of the hot store, classified by what a caller can do about them.

use std::{error::Error, io, sync::Arc};

use deadpool_redis::{
    PoolError,
    redis::{ErrorKind, RedisError},
};
use mayfly_core::{StoreError, StoreErrorKind};
use mayfly_runtime::settings::describe_rejected_certificate;
use rustls::CertificateError;

/// A failed call to Redis.
#[derive(Debug, thiserror::Error)]
pub enum HotError {
    /// Redis is unreachable or not ready, or it refuses this user. The call can be retried later.
    /// If the connection was lost or a script failed, the commands may have been executed, or some
    /// of them.
    #[error("Redis is unavailable: {0}")]
    Unavailable(String),
    /// Redis did not reply before the deadline. The command may have been executed.
    #[error("Redis did not reply in time")]
    Timeout,
    /// Redis reached `maxmemory`. Nothing was written; reads still succeed.
    #[error("Redis is out of memory: it reached maxmemory and rejects writes")]
    OutOfMemory,
    /// Too many requests are waiting for Redis. Nothing was written.
    #[error("too many requests are waiting for Redis")]
    Overloaded,
    /// The stream or its consumer group does not exist, usually because Redis has lost its data.
    #[error("the consumer group does not exist")]
    NoGroup,
    /// Redis rejected the command, or the reply has an unknown format.
    #[error("Redis rejected the command: {0}")]
    Rejected(#[source] RedisError),
}

/// The error codes that mean that the command may succeed later, as another user, or on another
/// node.
const UNAVAILABLE_CODES: [&str; 18] = [
    // Redis is starting, is failing over, or cannot persist or replicate writes.
    "LOADING",
    "MASTERDOWN",
    "READONLY",
    "MISCONF",
    "NOREPLICAS",
    // The node does not serve the slot at the moment.
    "CLUSTERDOWN",
    "TRYAGAIN",
    "MOVED",
    "ASK",
    // The client is not authenticated, the user lacks a permission, or Redis runs in protected
    // mode.
    "NOAUTH",
    "WRONGPASS",
    "NOPERM",
    "DENIED",
    // A script blocks Redis, or the script cache was flushed between two commands.
    "BUSY",
    "UNKILLABLE",
    "NOSCRIPT",
    // A transaction was discarded because Redis rejected one of its commands.
    "EXECABORT",
    // Redis does not support the protocol version.
    "NOPROTO",
];

/// The prefixes of error messages that mean the same as [`UNAVAILABLE_CODES`] but have the generic
/// code `ERR`. Redis reports some errors within a script with this code instead of their own codes.
/// Redis does not translate its messages, so the texts do not depend on a locale.
const UNAVAILABLE_MESSAGES: [&str; 11] = [
    "ACL failure in script",
    "The user executing the script",
    "Script attempted to access",
    "Script attempted to execute",
    "Can not execute the command on a stale replica",
    "Error running script",
    "script killed by user",
    // The server is a Sentinel or an old version, or the command was renamed.
    "unknown command",
    "Unknown Redis command called from script",
    "This Redis command is not allowed from script",
    // Too many clients are connected.
    "max number of clients",
];

/// The text between the message of an error within a script and the location of the error. The
/// location, which Redis appends, consists of the hash of the script and the line number.
const SCRIPT_LOCATION: &str = " script: ";

impl HotError {
    /// Classifies an error that occurred while a connection was opened, before any command was
    /// sent.
    pub(crate) fn from_connecting(error: &RedisError) -> Self {
        if error.is_timeout() {
            return Self::Timeout;
        }
        Self::Unavailable(match error.kind() {
            // The client library discards the error message of Redis.
            ErrorKind::AuthenticationFailed => {
                "Redis rejected the username or the password of redis.url".to_owned()
            }
            _ => match find_certificate_error(error) {
                Some(cause) => describe_rejected_certificate(cause, "redis.ca_file"),
                None => describe(error),
            },
        })
    }

    /// Returns whether a command failed because its key does not exist.
    ///
    /// The code `ERR` is not sufficient: Redis also uses it for other failures, such as an unknown
    /// command or too many clients.
    pub(crate) fn is_missing_key(&self) -> bool {
        const DETAIL: &str = "no such key";
        matches!(self, Self::Rejected(error)
            if error.detail().is_some_and(|detail| detail.contains(DETAIL)))
    }
}

impl StoreError for HotError {
    fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Unavailable(_) | Self::NoGroup => StoreErrorKind::Unavailable,
            Self::Timeout => StoreErrorKind::Timeout,
            Self::OutOfMemory | Self::Overloaded => StoreErrorKind::Overloaded,
            Self::Rejected(_) => StoreErrorKind::Rejected,
        }
    }
}

impl From<RedisError> for HotError {
    fn from(error: RedisError) -> Self {
        if let Some((code, message)) = find_reply(&error) {
            return match code.as_str() {
                "OOM" => Self::OutOfMemory,
                // UNBLOCKED: the stream was deleted while a consumer was blocked on it.
                "NOGROUP" | "UNBLOCKED" => Self::NoGroup,
                code if is_unavailable(code, &message) => Self::Unavailable(describe(&error)),
                _ => Self::Rejected(error),
            };
        }
        // The value has a format that Mayfly does not write, so a retry would also fail.
        if error.kind() == ErrorKind::Parse {
            Self::Rejected(error)
        } else if error.is_timeout() {
            Self::Timeout
        } else if error.is_io_error()
            || error.is_connection_dropped()
            || error.is_unrecoverable_error()
        {
            Self::Unavailable(describe(&error))
        } else {
            Self::Rejected(error)
        }
    }
}

impl From<PoolError> for HotError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => Self::from_connecting(&error),
            PoolError::Timeout(_) => Self::Timeout,
            other => Self::Unavailable(other.to_string()),
        }
    }
}

/// Returns whether an error reply means that Redis cannot execute the command now or for this user.
/// `line` contains the code and the message of the reply.
pub(super) fn is_unavailable_reply(line: &str) -> bool {
    let (code, message) = line.split_once(' ').unwrap_or((line, ""));
    is_unavailable(code, message)
}

fn is_unavailable(code: &str, message: &str) -> bool {
    UNAVAILABLE_CODES.contains(&code)
        || code == "ERR" && UNAVAILABLE_MESSAGES.iter().any(|known| message.starts_with(known))
}

/// Returns the code and the message of an error reply; `None` if Redis did not send the error. For
/// a pipeline or a transaction, uses the first error.
fn find_reply(error: &RedisError) -> Option<(String, String)> {
    let replies = error.clone().into_server_errors()?;
    let (_, reply) = replies.first()?;
    Some((reply.code().to_owned(), reply.details().unwrap_or_default().trim().to_owned()))
}

/// Returns whether an error occurred within a script. The script may have written data before the
/// error. If Redis refuses to execute a script, the error has no location.
pub(crate) fn is_from_script(error: &RedisError) -> bool {
    find_reply(error).is_some_and(|(_, message)| message.contains(SCRIPT_LOCATION))
}

/// Returns why the certificate of the server was not accepted, if that is the cause of an error.
fn find_certificate_error(error: &RedisError) -> Option<&CertificateError> {
    let shared = error.source()?.downcast_ref::<Arc<dyn Error + Send + Sync>>()?;
    let cause = shared.downcast_ref::<io::Error>()?.get_ref()?;
    match cause.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(cause) => Some(cause),
        _ => None,
    }
}

/// Returns the text of an error reply without the location in a script. For other errors, returns
/// the text of the client library.
fn describe(error: &RedisError) -> String {
    match find_reply(error) {
        Some((code, message)) => {
            let text = match message.rsplit_once(SCRIPT_LOCATION) {
                Some((text, location)) if location.contains(", on ") => text,
                _ => message.as_str(),
            };
            format!("{code} {text}").trim_end().to_owned()
        }
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use deadpool_redis::redis::{self, RedisError, Value, parse_redis_value};

    use super::*;

    /// Returns the error of the client library for an error reply that consists of `line`.
    fn reply(line: &str) -> RedisError {
        match parse_redis_value(format!("-{line}\r\n").as_bytes()).expect("a valid reply") {
            Value::ServerError(error) => error.into(),
            other => panic!("not an error: {other:?}"),
        }
    }

    #[test]
    fn replies_to_commands_that_may_succeed_later_are_unavailable() {
        for line in [
            "LOADING Redis is loading the dataset in memory",
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "READONLY You can't write against a read only replica.",
            "MISCONF Errors writing to the AOF file: No space left on device",
            "NOREPLICAS Not enough good replicas to write.",
            "CLUSTERDOWN Hash slot not served",
            "TRYAGAIN Multiple keys request during rehashing of slot",
            "MOVED 1234 127.0.0.1:7000",
            "ASK 1234 127.0.0.1:7000",
            "NOAUTH Authentication required.",
            "WRONGPASS invalid username-password pair or user is disabled.",
            "NOPERM User app has no permissions to run the 'evalsha' command",
            "DENIED Redis is running in protected mode",
            "BUSY Redis is busy running a script.",
            "UNKILLABLE Sorry the script already executed write commands.",
            "NOSCRIPT No matching script. Please use EVAL.",
            "ERR ACL failure in script: User app has no permissions to run the 'xadd' command",
            "ERR The user executing the script can't run this command or subcommand",
            "ERR Script attempted to access a non local key in a cluster node script: 12ab",
            "ERR Error running script (call to f_12ab): @user_script:1: -READONLY",
            "ERR unknown command 'EVALSHA', with args beginning with: ",
            "ERR max number of clients reached",
        ] {
            let error = HotError::from(reply(line));
            assert!(matches!(error, HotError::Unavailable(_)), "{line}: {error:?}");
        }
    }

    #[test]
    fn cause_is_the_reply_without_the_script() {
        let error = HotError::from(reply("READONLY No writes. script: 12ab, on @user_script:1."));
        assert_eq!(error.to_string(), "Redis is unavailable: READONLY No writes.");
        let acl = "ERR ACL failure in script: User app has no permissions";
        let error = HotError::from(reply(&format!("{acl} script: 12ab, on @user_script:1.")));
        assert_eq!(error.to_string(), format!("Redis is unavailable: {acl}"));
    }

    #[test]
    fn rejected_certificate_is_described() {
        let connecting = |cause: rustls::Error| {
            let error = io::Error::new(io::ErrorKind::InvalidData, cause);
            HotError::from_connecting(&RedisError::from(error)).to_string()
        };
        assert_eq!(
            connecting(CertificateError::UnknownIssuer.into()),
            "Redis is unavailable: the certificate of the server is not accepted: it is not signed \
             by an authority in redis.ca_file"
        );
        let other = connecting(rustls::Error::DecryptError);
        assert_eq!(other, "Redis is unavailable: cannot decrypt peer's message");
    }

    #[test]
    fn other_replies_have_their_own_kinds() {
        let oom = "OOM command not allowed when used memory > 'maxmemory'.";
        assert!(matches!(HotError::from(reply(oom)), HotError::OutOfMemory));
        for line in ["NOGROUP No such key", "UNBLOCKED the stream key no longer exists"] {
            assert!(matches!(HotError::from(reply(line)), HotError::NoGroup), "{line}");
        }
        for line in ["WRONGTYPE Operation against a key", "ERR value is not an integer"] {
            assert!(matches!(HotError::from(reply(line)), HotError::Rejected(_)), "{line}");
        }
        let malformed: Result<u64, _> = redis::from_redis_value(Value::BulkString(b"x".to_vec()));
        let malformed = RedisError::from(malformed.expect_err("no number"));
        assert!(matches!(HotError::from(malformed), HotError::Rejected(_)));
    }
}
