//! The client of a request that writes: its limit and its `Idempotency-Key`, as `client.lua` is told
//! of them.

use std::time::Duration;

use deadpool_redis::redis::ScriptInvocation;
use mayfly_runtime::settings::Rate;

use crate::{accept::millis, keys::Keys, once::Once};

/// What a client may send.
pub struct Limit {
    /// The client.
    pub client: String,
    /// How many items in which window.
    pub rate: Rate,
}

/// What is left to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Of how many items in which window.
    pub rate: Rate,
    /// Items of the present window.
    pub remaining: u32,
    /// When the window ends.
    pub resets_in: Duration,
}

/// What stands before a request: how many items it has, whether there is a limit and a key.
pub(crate) fn marks(count: usize, limit: Option<&Limit>, once: Option<&Once>) -> String {
    let limited = if limit.is_some() { "l" } else { "" };
    let known = if once.is_some() { "k" } else { "" };
    format!("{count}{limited}{known}")
}

/// Adds the keys and arguments of a request's client; `kind` is what its limit counts.
pub(crate) fn add_client(
    call: &mut ScriptInvocation<'_>,
    keys: &Keys,
    kind: &str,
    limit: Option<&Limit>,
    once: Option<&Once>,
) {
    if let Some(Limit { client, rate }) = limit {
        call.key(keys.rate(kind, rate.window.as_secs(), client));
        call.arg(rate.items).arg(millis(rate.window));
    }
    if let Some(once) = once {
        call.key(once.key(keys)).arg(once.fingerprint());
    }
}
