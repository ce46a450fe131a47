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
/// The maximum number of HTTP connections that ws-fanout reserves for requests other than event
/// streams, for example to reject further live connections.
const REQUESTS_MAX: usize = 256;
/// The divisor that limits this reserve to one fifth of all public connections.
const REQUESTS_SHARE: usize = 5;

/// The maximum numbers of public connections. A WebSocket is a live connection. An event stream is
/// an HTTP connection and a live connection. Any other connection is an HTTP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Connections {
    /// `http.connections_max`. Does not include WebSockets, because the server stops counting a
    /// connection when its handshake is complete.
    http: usize,
    /// `fanout.connections_max`, or 0 if the service has no live connections.
    live: usize,
}

impl Connections {
    fn of(service: Service, settings: &Settings) -> Self {
        let has_live = service == Service::WsFanout;
        let live = if has_live { settings.fanout.connections_max } else { 0 };
        Self { http: settings.http.connections_max, live }
    }

    /// Returns the maximum number of descriptors that the connections need.
    fn total(self) -> usize {
        self.http.saturating_add(self.live)
    }

    /// Lowers the numbers so that their sum is at most `available`. If both are lowered, all live
    /// connections can still be event streams.
    fn lower_to(self, available: usize) -> Self {
        let reserve = REQUESTS_MAX.min(available / REQUESTS_SHARE);
        let half = (available - reserve) / 2;
        let live = self.live.min(available.saturating_sub(self.http).max(half).max(1));
        Self { http: self.http.min(available.saturating_sub(live)).max(1), live }
    }
}

/// Raises the soft limit on open files to the hard limit, and lowers the configured numbers of
/// connections if the connections do not fit into that limit. Descriptors are reserved for the
/// connections to the stores and for the admin port, so that health checks work while the public
/// port is full.
///
/// The defaults are upper bounds, so lowering them is normal. A warning is logged only if the
/// operator configured other numbers, or if less than half of the defaults fits.
pub(crate) fn fit_connections(service: Service, settings: &mut Settings) {
    let Some(limit) = raise_limit() else { return };
    if !service.has_public_port() {
        return;
    }
    let configured = Connections::of(service, settings);
    let available = connections_available(limit, settings);
    if configured.total() <= available {
        return;
    }
    let lowered = configured.lower_to(available);
    log_lowered(limit, configured, lowered, is_default(service, configured));
    settings.http.connections_max = lowered.http;
    if lowered.live > 0 {
        settings.fanout.connections_max = lowered.live;
    }
}

fn log_lowered(limit: u64, configured: Connections, lowered: Connections, is_default: bool) {
    let Connections { http, live } = lowered;
    let accepted = if live == 0 {
        format!("at most {http} connections are accepted")
    } else {
        format!("at most {http} HTTP connections and {live} live connections are accepted")
    };
    if is_default && lowered.total() >= configured.total() / 2 {
        info!(
            open_files.max = limit,
            "lowering the maximum numbers of connections to fit the limit on open files: {accepted}"
        );
    } else {
        warn!(
            open_files.max = limit,
            connections.configured = configured.total(),
            "the configured connections do not fit into the limit on open files: {accepted}; \
             raise the hard limit (ulimit -Hn, LimitNOFILE), or lower http.connections_max and, \
             for ws-fanout, fanout.connections_max"
        );
    }
}

/// Returns whether the maximum numbers of connections are the defaults.
fn is_default(service: Service, configured: Connections) -> bool {
    Settings::from_layers(None, std::iter::empty())
        .is_ok_and(|defaults| Connections::of(service, &defaults) == configured)
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

    #[test]
    fn connections_of_both_kinds_fit_together() {
        let lower = |http, live, available| {
            let lowered = Connections { http, live }.lower_to(available);
            assert!(lowered.total() <= available, "{lowered:?}");
            (lowered.http, lowered.live)
        };
        // The defaults, with a hard limit of 32,768.
        assert_eq!(lower(25_000, 20_000, 32_456), (16_356, 16_100));
        assert_eq!(lower(25_000, 20_000, 832), (499, 333));
        // Only the number that is too large is lowered.
        assert_eq!(lower(25_000, 1_000, 20_000), (19_000, 1_000));
        assert_eq!(lower(1_000, 25_000, 20_000), (1_000, 19_000));
        assert_eq!(lower(usize::MAX, usize::MAX, 1_000), (600, 400));
        assert_eq!(lower(25_000, 20_000, 2), (1, 1));
    }

    #[test]
    fn live_connections_need_descriptors_only_in_ws_fanout() {
        let settings = Settings::from_layers(None, std::iter::empty()).expect("the defaults");
        let total = |service| Connections::of(service, &settings).total();
        assert_eq!(total(Service::WsFanout), 45_000);
        assert_eq!(total(Service::IngestApi), 25_000);
        let lowered = Connections::of(Service::IngestApi, &settings).lower_to(10_000);
        assert_eq!(lowered, Connections { http: 10_000, live: 0 });
        assert!(is_default(Service::WsFanout, Connections { http: 25_000, live: 20_000 }));
        assert!(!is_default(Service::WsFanout, Connections { http: 25_000, live: 10_000 }));
    }
}
