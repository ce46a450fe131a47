//! Reports connection counts (for the pulse) and watched hosts (for sampling) to Redis.

use std::{sync::Arc, time::Duration};

use mayfly_core::{Host, limits::WATCHED_HOSTS_MAX};
use mayfly_hot::HotStore;
use mayfly_runtime::ticker;
use tracing::{debug, warn};
use uuid::Uuid;

use crate::hub::Hub;

const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Reports every second until it is aborted. Reports expire within seconds.
pub(crate) async fn run_reports(hub: Arc<Hub>, hot: HotStore) {
    let instance = Uuid::now_v7().simple().to_string();
    let mut ticks = ticker(REPORT_INTERVAL);
    let mut is_truncated = false;
    loop {
        ticks.tick().await;
        if let Err(error) = hot.fanouts().report(&instance, hub.report()).await {
            debug!(%error, "cannot report the connection count to Redis");
        }
        let hosts = truncate_hosts(hub.host_registry.hosts(), &mut is_truncated);
        if !hosts.is_empty()
            && let Err(error) = hot.trends().watch_hosts(&hosts).await
        {
            debug!(%error, "cannot report the watched hosts to Redis");
        }
    }
}

/// Returns the first hosts by name, up to the limit. Warns when the limit is first exceeded.
fn truncate_hosts(mut hosts: Vec<Host>, is_truncated: &mut bool) -> Vec<Host> {
    let watched = hosts.len();
    let was_truncated = std::mem::replace(is_truncated, watched > WATCHED_HOSTS_MAX);
    if *is_truncated && !was_truncated {
        warn!(
            hosts.watched = watched,
            hosts.max = WATCHED_HOSTS_MAX,
            "report: too many hosts are watched; only the first ones by name are sampled"
        );
    }
    hosts.truncate(WATCHED_HOSTS_MAX);
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watched_hosts_are_truncated_to_the_limit() {
        let hosts = |count: usize| {
            (0..count)
                .map(|number| Host::parse(format!("h{number}")).expect("a valid host"))
                .collect()
        };
        let mut is_truncated = false;
        assert_eq!(
            (truncate_hosts(hosts(WATCHED_HOSTS_MAX), &mut is_truncated).len(), is_truncated),
            (WATCHED_HOSTS_MAX, false)
        );
        assert_eq!(
            (truncate_hosts(hosts(WATCHED_HOSTS_MAX + 1), &mut is_truncated).len(), is_truncated),
            (WATCHED_HOSTS_MAX, true)
        );
        assert_eq!((truncate_hosts(hosts(1), &mut is_truncated).len(), is_truncated), (1, false));
    }
}
