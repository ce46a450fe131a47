//! Rate limits and idempotency keys of writes.

mod exhausted_clients;
mod idempotency;
mod rate_limit;
mod unreadable_keys;

use std::time::Duration;

use mayfly_hot::{ClientLimit, RateLimitStatus};
use mayfly_runtime::settings::Rate;

/// Returns a limit of `items` items per hour for a client.
fn limit(client: &str, items: u32) -> ClientLimit {
    ClientLimit { client: client.into(), rate: rate(items) }
}

fn rate(items: u32) -> Rate {
    Rate { items, window: Duration::from_secs(3_600) }
}

/// Returns the number of remaining items.
fn remaining(status: Option<RateLimitStatus>) -> u32 {
    status.expect("a limit").remaining
}
