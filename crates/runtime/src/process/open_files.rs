//! The limit on open files, which also limits the number of connections.

use std::thread;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::{info, warn};

use crate::{Service, Settings};

/// The number of file descriptors that a process needs in addition to its connections: for
/// listeners, event loops, files, name resolution and calls to S3.
const BASE: u64 = 64;
/// The number of file descriptors that the event loop of each thread needs.
const PER_THREAD: u64 = 4;
/// The number of file descriptors that are reserved for connections to the admin port.
const ADMIN: u64 = 64;
/// The maximum number of public connections that are not available for live connections. ws-fanout
/// uses these connections for other requests, for example to reject further live connections.
const REQUESTS_MAX: usize = 256;
/// The divisor that limits this reserve to one fifth of all public connections.
const REQUESTS_SHARE: usize = 5;

/// Raises the soft limit on open files to the hard limit, and lowers the configured numbers of
/// connections if the connections do not fit into that limit. Descriptors are reserved for the
/// connections to the stores and for the admin port, so that health checks work while the public
/// port is full.
///
/// The default of `http.connections_max` is an upper bound, so lowering it is normal. A warning is
/// logged only if the operator configured another number, or if less than half of the default fits.
pub(crate) fn fit_connections(service: Service, settings: &mut Settings) {
    let Some(limit) = raise_limit() else { return };
    if !service.has_public_port() {
        return;
    }
    let configured = settings.http.connections_max;
    let available = connections_available(limit, settings);
    if configured <= available {
        return;
    }
    if is_default(configured) && available >= configured / 2 {
        info!(
            open_files.max = limit,
            connections.max = available,
            "lowering http.connections_max to fit the limit on open files"
        );
    } else {
        warn!(
            http.connections_max = configured,
            open_files.max = limit,
            connections.max = available,
            "http.connections_max does not fit into the limit on open files: at most {available} \
             connections are accepted; raise the hard limit (ulimit -Hn, LimitNOFILE) or lower \
             http.connections_max"
        );
    }
    settings.http.connections_max = available;
    let for_requests = REQUESTS_MAX.min(available / REQUESTS_SHARE);
    let live_max = &mut settings.fanout.connections_max;
    *live_max = (available - for_requests).clamp(1, *live_max);
}

/// Returns whether `connections_max` is the default of `http.connections_max`.
fn is_default(connections_max: usize) -> bool {
    Settings::from_layers(None, std::iter::empty())
        .is_ok_and(|defaults| defaults.http.connections_max == connections_max)
}

/// Raises the soft limit on open files to the hard limit. Returns the resulting soft limit, or
/// `None` if it is unknown.
fn raise_limit() -> Option<u64> {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        warn!(%error, "cannot raise the limit on open files; connections are limited to the soft limit");
    }
    getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft)
}

/// Returns the number of public connections that fit into a limit on open files.
fn connections_available(limit: u64, settings: &Settings) -> usize {
    let threads = match settings.http.workers {
        0 => thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let as_u64 = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    // Each server thread has a pool of Redis connections, and background work has another pool.
    let pools = as_u64(settings.redis.pool_size_max).saturating_mul(as_u64(threads) + 1);
    let reserved = BASE
        .saturating_add(ADMIN)
        .saturating_add(PER_THREAD * as_u64(threads))
        .saturating_add(pools)
        .saturating_add(as_u64(settings.postgres.pool_size_max));
    // With a very low limit, at most half of the descriptors are reserved.
    let available = limit - reserved.min(limit / 2);
    usize::try_from(available).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_reserved_for_stores_and_health_checks() {
        let mut settings = Settings::from_layers(None, std::iter::empty()).expect("the defaults");
        settings.http.workers = 2;
        // 64 + 64 + 2 * 4 + 3 * 16 + 8
        assert_eq!(connections_available(1024, &settings), 1024 - 192);
        assert_eq!(connections_available(100, &settings), 50);
        assert_eq!(connections_available(1, &settings), 1);
    }
}
