//! Broadcasts the newest published trend snapshot of each watched host for the `rising` feed. Also
//! reads the snapshots from their keys periodically, to recover snapshots whose publication was
//! lost or dropped.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use mayfly_core::{Clock, Host, Timestamp, limits::WATCHED_HOSTS_MAX};
use mayfly_hot::Publications;
use mayfly_runtime::{OutageLog, ticker};
use serde::Deserialize;
use tokio::time::sleep;

use crate::{
    frames::TrendFrame,
    host_registry::HostRegistry,
    hub::{ConnectionMemory, Hub},
    worker_event::WorkerEvent,
};

/// Interval between polls of the snapshots of watched hosts.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// Maximum number of hosts per read. A snapshot can be as large as 1 MiB.
const POLL_HOSTS_MAX: usize = 16;
/// Minimum pause after a read of requested snapshots.
const REQUEST_PAUSE_MIN: Duration = Duration::from_millis(10);
/// Maximum rate at which requested snapshots are read: 32 MB per second.
const REQUESTED_BYTES_PER_MICRO: u64 = 32;

/// The fields that determine whether a snapshot is needed.
#[derive(Deserialize)]
struct SnapshotHeader {
    host: Host,
    sampled_at: Timestamp,
}

/// Broadcasts new published snapshots of watched hosts. Runs until the task is aborted.
pub(super) async fn follow_trends(
    hub: Arc<Hub>,
    mut snapshots: Publications,
    malformed: OutageLog,
) {
    while let Some(snapshot) = snapshots.next().await {
        process_snapshot(&hub, &snapshot, &malformed).await;
    }
}

/// Reads the snapshots of watched hosts periodically, and requested snapshots without waiting for
/// the next poll. Broadcasts new snapshots. Runs until the task is aborted.
pub(super) async fn poll_trends(hub: Arc<Hub>, malformed: OutageLog) {
    let mut ticks = ticker(POLL_INTERVAL);
    let outages = OutageLog::new("read trend snapshots");
    let mut last = None;
    loop {
        let (hosts, are_requested) = tokio::select! {
            hosts = hub.host_registry.requested_hosts(POLL_HOSTS_MAX) => (hosts, true),
            _ = ticks.tick() => {
                // Clients can watch more hosts than one poll reads, so each poll continues after
                // the last host of the previous poll.
                let hosts = hub.host_registry.next_hosts(last.as_ref(), WATCHED_HOSTS_MAX);
                last = hosts.last().cloned();
                (hosts, false)
            }
        };
        for hosts in hosts.chunks(POLL_HOSTS_MAX) {
            let snapshots = hub.hot.trends().find_many(hosts).await;
            outages.record(&snapshots);
            // After a failure, a later poll reads these hosts again.
            let snapshots = snapshots.unwrap_or_default();
            let pause = pause_after(snapshots.iter().map(Bytes::len).sum());
            for snapshot in snapshots {
                process_snapshot(&hub, &snapshot, &malformed).await;
            }
            if are_requested {
                sleep(pause).await;
            }
        }
    }
}

/// Returns the pause after a read of requested snapshots with this total size. Clients can unwatch
/// and watch hosts at any rate, and each time they watch a host, its snapshot is requested.
fn pause_after(bytes: usize) -> Duration {
    Duration::from_micros(bytes as u64 / REQUESTED_BYTES_PER_MICRO).max(REQUEST_PAUSE_MIN)
}

async fn process_snapshot(hub: &Hub, snapshot: &[u8], malformed: &OutageLog) {
    let stored = store_snapshot(&hub.host_registry, snapshot, hub.hot.clock().now(), &hub.memory);
    malformed.record(&stored);
    if let Ok(Some(frame)) = stored {
        hub.broadcast(WorkerEvent::Trend(frame)).await;
    }
}

/// Encodes a snapshot and stores the frame if the host is watched and the snapshot is new. Returns
/// the frame, or `None` if no frame was stored.
fn store_snapshot(
    host_registry: &HostRegistry,
    snapshot: &[u8],
    now: Timestamp,
    memory: &ConnectionMemory,
) -> serde_json::Result<Option<Arc<TrendFrame>>> {
    let SnapshotHeader { host, sampled_at } = serde_json::from_slice(snapshot)?;
    if !host_registry.needs(&host, sampled_at, now) {
        return Ok(None);
    }
    let frame = TrendFrame::encode(&serde_json::from_slice(snapshot)?, memory);
    Ok(host_registry.store(frame, now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{frames::Encoding, websocket::text_payload};

    /// 2026-11-20T19:07:03Z.
    const NOW: Timestamp = Timestamp::from_millis(1_795_201_623_000);

    fn store(
        registry: &HostRegistry,
        snapshot: &[u8],
    ) -> serde_json::Result<Option<Arc<TrendFrame>>> {
        store_snapshot(registry, snapshot, NOW, &ConnectionMemory::new(0))
    }

    fn host(name: &str) -> Host {
        Host::parse(name).expect("a valid host")
    }

    fn snapshot(host: &str, time: &str) -> Vec<u8> {
        let sampled_at = format!("2026-11-20T{time}.000Z");
        serde_json::to_vec_pretty(&serde_json::json!({
            "host": host, "sampled_at": sampled_at, "visitors": 3, "exact": true,
            "compared_to": null,
            "pages": [{"path": "/", "title": "a\nb", "visitors": 3, "before": null, "usual": null}],
        }))
        .expect("valid JSON")
    }

    #[test]
    fn reads_of_requested_snapshots_are_limited_in_number_and_size() {
        assert_eq!(pause_after(0), REQUEST_PAUSE_MIN);
        assert_eq!(pause_after(16_000), REQUEST_PAUSE_MIN);
        assert_eq!(pause_after(16_000_000), Duration::from_millis(500));
    }

    #[test]
    fn only_newer_snapshots_of_watched_hosts_are_stored() {
        let registry = HostRegistry::default();
        assert!(registry.watch(&host("a.org")).is_none());
        registry.watch(&host("b.org"));
        let is_new = |host: &str, time: &str| {
            store(&registry, &snapshot(host, time)).expect("a valid snapshot").is_some()
        };
        let snapshots = [("A.org", "19:07:02"), ("a.org", "19:07:02"), ("a.org", "19:07:01")];
        assert_eq!(snapshots.map(|(host, time)| is_new(host, time)), [true, false, false]);
        let snapshots = [("b.org", "19:07:01"), ("a.org", "19:07:03"), ("c.org", "19:07:03")];
        assert_eq!(snapshots.map(|(host, time)| is_new(host, time)), [true, true, false]);
        assert_eq!(registry.next_hosts(None, 9), [host("a.org"), host("b.org")]);
        // A frame with an implausible timestamp is replaced.
        assert!(is_new("b.org", "22:07:00") && is_new("b.org", "19:07:02"));
        assert!(!is_new("b.org", "19:07:02"));
    }

    #[test]
    fn host_is_removed_with_its_last_watcher() {
        let registry = HostRegistry::default();
        let one = host("a.org");
        registry.watch(&one);
        let stored = store(&registry, &snapshot("a.org", "19:07:02")).expect("a valid snapshot");
        let stored = stored.expect("a new snapshot");
        let newest = registry.watch(&one).expect("the stored frame");
        assert!(Arc::ptr_eq(&stored, &newest));
        registry.unwatch(&one);
        assert_eq!(registry.next_hosts(None, 9), std::slice::from_ref(&one));
        registry.unwatch(&one);
        assert!(registry.count() == 0 && registry.watch(&one).is_none());
        let again = store(&registry, &snapshot("a.org", "19:07:02")).expect("a valid snapshot");
        assert!(again.expect("a new snapshot").number > stored.number);
    }

    #[test]
    fn frame_is_one_line_in_every_encoding() {
        let snapshot = serde_json::from_slice(&snapshot("a.org", "19:07:02"));
        let snapshot = snapshot.expect("a valid snapshot");
        let trend = TrendFrame::encode(&snapshot, &ConnectionMemory::new(0));
        let frame = trend.bytes(Encoding::WebSocket);
        let frame = str::from_utf8(text_payload(&frame)).expect("UTF-8");
        assert!(frame.starts_with(r#"{"type":"rising","host":"a.org","#), "{frame}");
        assert_eq!(trend.bytes(Encoding::Sse), format!("data: {frame}\n\n"));
        let sse = || trend.bytes(Encoding::Sse).as_ptr();
        assert_eq!(sse(), sse());
    }

    #[test]
    fn malformed_snapshots_are_rejected() {
        let registry = HostRegistry::default();
        registry.watch(&host("a.org"));
        let no_pages = br#"{"host":"a.org","sampled_at":"2026-11-20T19:07:02.000Z"}"#;
        for invalid in [&b"[]"[..], b"7", b"{", br#"{"host":"a b"}"#, no_pages] {
            assert!(store(&registry, invalid).is_err(), "{}", String::from_utf8_lossy(invalid));
        }
    }
}
