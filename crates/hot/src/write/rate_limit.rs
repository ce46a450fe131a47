//! The rate limit of a client. `rate_limit.lua` enforces the limit and checks the
//! `Idempotency-Key`, in the same atomic step as the write.

use std::time::Duration;

use deadpool_redis::redis::ScriptInvocation;
use mayfly_runtime::settings::Rate;

use crate::{connection::millis, keys::Keys, write::IdempotentRequest};

/// The rate limit of a client.
#[derive(Debug, Clone)]
pub struct ClientLimit {
    /// The identity of the client.
    pub client: String,
    /// The maximum number of items per window, and the length of the window.
    pub rate: Rate,
}

/// The state of a client's rate limit after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimitStatus {
    /// The maximum number of items per window, and the length of the window.
    pub rate: Rate,
    /// The number of items left in the current window.
    pub remaining: u32,
    /// The time until the window ends.
    pub resets_in: Duration,
}

/// Returns the header of a request for the script: the number of items, `l` if the client has a
/// limit, `k` if the request has an idempotency key.
pub(crate) fn request_header(
    count: usize,
    limit: Option<&ClientLimit>,
    idempotency: Option<&IdempotentRequest>,
) -> String {
    let mut header = count.to_string();
    if limit.is_some() {
        header.push('l');
    }
    if idempotency.is_some() {
        header.push('k');
    }
    header
}

/// Adds the keys and arguments that `read_client` in `rate_limit.lua` reads; `kind` names the items
/// that the limit counts.
pub(crate) fn add_client_arguments(
    call: &mut ScriptInvocation<'_>,
    keys: &Keys,
    kind: &str,
    limit: Option<&ClientLimit>,
    idempotency: Option<&IdempotentRequest>,
) {
    if let Some(ClientLimit { client, rate }) = limit {
        call.key(keys.rate(kind, rate.window.as_secs(), client));
        call.arg(rate.items).arg(millis(rate.window));
    }
    if let Some(request) = idempotency {
        call.key(request.key(keys)).arg(request.fingerprint());
    }
}
