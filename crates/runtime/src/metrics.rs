//! The names of all metrics, what they mean, and the handle that shows them.

use std::time::Duration;

use anyhow::Context;
use metrics::{describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Items accepted, by `kind`.
pub const ACCEPTED_TOTAL: &str = "mayfly_accepted_total";
/// Items stored in Postgres, by `kind`.
pub const STORED_TOTAL: &str = "mayfly_stored_total";
/// Entries that wait to be stored, by `stream`.
pub const QUEUE_DEPTH: &str = "mayfly_queue_depth";
/// Age in seconds of the oldest entry that waits, by `stream`.
pub const QUEUE_OLDEST_AGE_SECONDS: &str = "mayfly_queue_oldest_age_seconds";
/// Dead letters that nobody has redriven or purged.
pub const DEAD_LETTERS: &str = "mayfly_dead_letters";
/// Publications that Redis refused; what they carried was read from the stream instead.
pub const PUBLISH_FAILURES_TOTAL: &str = "mayfly_publish_failures_total";
/// 1 while Redis answers, else 0.
pub const REDIS_UP: &str = "mayfly_redis_up";
/// 1 while Postgres answers, else 0.
pub const POSTGRES_UP: &str = "mayfly_postgres_up";
/// Seconds from a request to its acceptance.
pub const ACCEPT_SECONDS: &str = "mayfly_accept_seconds";
/// Seconds from the acceptance of an entry until a worker took it.
pub const QUEUE_WAIT_SECONDS: &str = "mayfly_queue_wait_seconds";
/// Seconds that a batch took to be stored.
pub const STORE_SECONDS: &str = "mayfly_store_seconds";
/// Connections that are open.
pub const CONNECTIONS: &str = "mayfly_connections";
/// Frames handed to connections.
pub const DELIVERIES_TOTAL: &str = "mayfly_deliveries_total";
/// What did not reach a connection, by `reason`: `slow_consumer` counts frames, `close_timeout`
/// connections that did not read their Close.
pub const DROPPED_TOTAL: &str = "mayfly_dropped_total";
/// Connections closed by this side or the other, by `code`.
pub const CLOSED_TOTAL: &str = "mayfly_closed_total";
/// Connections that handed in a position, by `result`.
pub const RESUMES_TOTAL: &str = "mayfly_resumes_total";
/// Seconds from the acceptance of a message until it was written to the connections.
pub const DELIVERY_SECONDS: &str = "mayfly_delivery_seconds";
/// Frames of counts that were published.
pub const PLAY_FRAMES_TOTAL: &str = "mayfly_play_frames_total";
/// Runs of the statistics, by `result`: `published`, `failed`, `late` (another publisher was faster),
/// `filling` (Postgres still counts what was stored before there were statistics).
pub const SNAPSHOTS_TOTAL: &str = "mayfly_snapshots_total";
/// Seconds that a run took, from reading Postgres to announcing the snapshot.
pub const SNAPSHOT_SECONDS: &str = "mayfly_snapshot_seconds";
/// Seconds since the numbers of the last snapshot were read.
pub const SNAPSHOT_AGE_SECONDS: &str = "mayfly_snapshot_age_seconds";
/// Calls of the service that knows the visitors of pages, by `result`: `answered`, `refused` (4xx),
/// `limited` (429), `failed`.
pub const RISING_CALLS_TOTAL: &str = "mayfly_rising_calls_total";

/// Samples of the visitors of a host's pages that were published.
pub const RISING_SAMPLES_TOTAL: &str = "mayfly_rising_samples_total";
/// Samples that were published and are not stored: more waited for Postgres than may wait, or it
/// refused them.
pub const RISING_SAMPLES_DROPPED_TOTAL: &str = "mayfly_rising_samples_dropped_total";

/// Upper bounds of the histograms in seconds, from half a millisecond to ten seconds.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// How often what was recorded is folded into the buckets, so that it does not pile up when nobody asks.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Shows the metrics of this process.
#[derive(Clone, Debug)]
pub struct MetricsHandle {
    prometheus: PrometheusHandle,
}

impl MetricsHandle {
    /// Makes the recorder of this process and describes every metric.
    ///
    /// # Errors
    /// If there is one already.
    pub fn install() -> anyhow::Result<Self> {
        let recorder = builder()?.build_recorder();
        let prometheus = recorder.handle();
        metrics::set_global_recorder(recorder)
            .context("the recorder of metrics is there already")?;
        describe();
        Ok(Self { prometheus })
    }

    /// Makes a handle that nothing records to.
    pub fn detached() -> Self {
        Self { prometheus: PrometheusBuilder::new().build_recorder().handle() }
    }

    /// Writes all metrics in the text format of Prometheus.
    pub fn render(&self) -> String {
        self.prometheus.render()
    }

    /// Folds what was recorded into the buckets, again and again. Never ends.
    pub(crate) async fn keep_up(self) {
        let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
        loop {
            ticks.tick().await;
            self.prometheus.run_upkeep();
        }
    }
}

fn builder() -> anyhow::Result<PrometheusBuilder> {
    PrometheusBuilder::new().set_buckets(&BUCKETS).context("the buckets of histograms")
}

fn describe() {
    describe_counter!(ACCEPTED_TOTAL, "Items accepted");
    describe_counter!(STORED_TOTAL, "Items stored in Postgres");
    describe_gauge!(QUEUE_DEPTH, "Entries that wait to be stored");
    describe_gauge!(QUEUE_OLDEST_AGE_SECONDS, "Age of the oldest entry that waits, in seconds");
    describe_gauge!(DEAD_LETTERS, "Dead letters that nobody has redriven or purged");
    describe_counter!(PUBLISH_FAILURES_TOTAL, "Publications that Redis refused");
    describe_gauge!(REDIS_UP, "1 while Redis answers, else 0");
    describe_gauge!(POSTGRES_UP, "1 while Postgres answers, else 0");
    describe_histogram!(ACCEPT_SECONDS, "Seconds from a request to its acceptance");
    describe_histogram!(
        QUEUE_WAIT_SECONDS,
        "Seconds from the acceptance of an entry until a worker took it"
    );
    describe_histogram!(STORE_SECONDS, "Seconds that a batch took to be stored");
    describe_gauge!(CONNECTIONS, "Connections that are open");
    describe_counter!(DELIVERIES_TOTAL, "Frames handed to connections");
    describe_counter!(
        DROPPED_TOTAL,
        "Frames that a slow connection did not get, and connections that did not read their Close"
    );
    describe_counter!(CLOSED_TOTAL, "Connections closed");
    describe_counter!(RESUMES_TOTAL, "Connections that handed in a position");
    describe_histogram!(
        DELIVERY_SECONDS,
        "Seconds from the acceptance of a message until it was written to the connections"
    );
    describe_counter!(PLAY_FRAMES_TOTAL, "Frames of play counts that were published");
    describe_counter!(SNAPSHOTS_TOTAL, "Runs of the statistics");
    describe_histogram!(SNAPSHOT_SECONDS, "Seconds that a run of the statistics took");
    describe_gauge!(SNAPSHOT_AGE_SECONDS, "Seconds since the last snapshot");
    describe_counter!(RISING_SAMPLES_TOTAL, "Samples of visitors that were published");
    describe_counter!(
        RISING_SAMPLES_DROPPED_TOTAL,
        "Samples of visitors that were published and are not stored"
    );
    describe_counter!(RISING_CALLS_TOTAL, "Calls of the service that knows visitors");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_are_shown_with_buckets() {
        let recorder = builder().expect("a builder").build_recorder();
        let handle = MetricsHandle { prometheus: recorder.handle() };
        metrics::with_local_recorder(&recorder, || {
            describe();
            metrics::histogram!(ACCEPT_SECONDS).record(0.003);
            metrics::counter!(ACCEPTED_TOTAL, "kind" => "message").increment(2);
        });
        let shown = handle.render();
        assert!(shown.contains("# HELP mayfly_accept_seconds "), "{shown}");
        assert!(shown.contains("mayfly_accept_seconds_bucket{le=\"0.005\"} 1"), "{shown}");
        assert!(shown.contains("mayfly_accept_seconds_bucket{le=\"0.0025\"} 0"), "{shown}");
        assert!(shown.contains("mayfly_accepted_total{kind=\"message\"} 2"), "{shown}");
    }
}
