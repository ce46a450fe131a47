//! Reports to Redis the numbers of connections and delivered frames (for the `pulse` feed) and the
//! watched hosts (for sampling). Also exports the connection limit and the memory that connections
//! hold as metrics.

use std::{sync::Arc, time::Duration};

use mayfly_core::limits::WATCHED_HOSTS_MAX;
use mayfly_hot::HotStore;
use mayfly_runtime::{OutageLog, ticker};
use metrics::gauge;
use tracing::warn;
use uuid::Uuid;

use crate::{hub::Hub, metrics as names};

const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Sends reports every second until the task is aborted. Reports from a stopped process are ignored
/// after 5 seconds.
pub(crate) async fn run_reports(hub: Arc<Hub>, hot: HotStore) {
    let instance = Uuid::now_v7().simple().to_string();
    let mut ticks = ticker(REPORT_INTERVAL);
    let mut is_truncated = false;
    let mut last_reported = None;
    let outages = OutageLog::new("report the number of connections");
    let host_outages = OutageLog::new("report the watched hosts");
    set_gauge(names::CONNECTIONS_MAX, hub.settings.fanout.connections_max);
    loop {
        ticks.tick().await;
        set_gauge(names::QUEUED_BYTES, hub.memory.bytes());
        outages.record(&hot.fanouts().report(&instance, hub.report()).await);
        check_watched_hosts(hub.host_registry.count(), &mut is_truncated);
        let hosts = hub.host_registry.next_reported(last_reported.as_ref(), WATCHED_HOSTS_MAX);
        last_reported = hosts.last().cloned();
        if !hosts.is_empty() {
            host_outages.record(&hot.trends().watch_hosts(&hosts).await);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "gauges are doubles")]
fn set_gauge(name: &'static str, value: usize) {
    gauge!(name).set(value as f64);
}

/// Logs a warning each time the number of watched hosts rises above the limit.
fn check_watched_hosts(watched: usize, is_truncated: &mut bool) {
    let was_truncated = std::mem::replace(is_truncated, watched > WATCHED_HOSTS_MAX);
    if *is_truncated && !was_truncated {
        warn!(
            hosts.watched = watched,
            hosts.max = WATCHED_HOSTS_MAX,
            "report: too many hosts are watched; hosts with trends are sampled first"
        );
    }
}
