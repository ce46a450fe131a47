//! The metrics recorder of a process, and the handle that renders it.

use std::time::Duration;

use anyhow::Context;
use metrics::{Label, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

use super::{BATCH_ENTRIES, BUILD_INFO, Kind, METRICS, Metric, Series};
use crate::{Service, VERSION};

/// Upper bounds of histogram buckets in seconds.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Upper bounds of [`BATCH_ENTRIES`].
const BATCH_BUCKETS: [f64; 11] =
    [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0];

/// Interval at which recorded values are folded into the buckets. Without it, they would accumulate
/// while nothing scrapes the process.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Renders the metrics of this process.
#[derive(Clone, Debug)]
pub struct MetricsHandle {
    prometheus: PrometheusHandle,
    /// Collects the metrics of the process itself; `None` for a detached handle.
    process: Option<Collector>,
}

impl MetricsHandle {
    /// Installs the global recorder of this process and describes every metric.
    ///
    /// # Errors
    /// Fails if a recorder is already installed.
    pub fn install(service: Service) -> anyhow::Result<Self> {
        let recorder = new_builder()?.build_recorder();
        let prometheus = recorder.handle();
        metrics::set_global_recorder(recorder)
            .context("a metrics recorder is already installed")?;
        describe_metrics();
        init_series(service);
        let process = Collector::default();
        process.describe();
        Ok(Self { prometheus, process: Some(process) })
    }

    /// Returns a handle to an empty recorder that is not installed.
    pub fn detached() -> Self {
        Self { prometheus: PrometheusBuilder::new().build_recorder().handle(), process: None }
    }

    /// Renders all metrics in the Prometheus text format.
    pub fn render(&self) -> String {
        if let Some(process) = &self.process {
            process.collect();
        }
        self.prometheus.render()
    }

    /// Periodically folds recorded values into the buckets. Never completes.
    pub(crate) async fn run_upkeep(self) {
        let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
        loop {
            ticks.tick().await;
            self.prometheus.run_upkeep();
        }
    }
}

fn new_builder() -> anyhow::Result<PrometheusBuilder> {
    let batches = Matcher::Full(BATCH_ENTRIES.to_owned());
    PrometheusBuilder::new()
        .set_buckets(&BUCKETS)
        .and_then(|builder| builder.set_buckets_for_metric(batches, &BATCH_BUCKETS))
        .context("invalid histogram buckets")
}

/// Registers the help text of every metric.
fn describe_metrics() {
    for Metric { name, kind, help, .. } in METRICS {
        match kind {
            Kind::Counter => describe_counter!(name, help),
            Kind::Gauge => describe_gauge!(name, help),
            Kind::Histogram => describe_histogram!(name, help),
        }
    }
}

/// Registers the series of a service that are exported as 0 from the start.
fn init_series(service: Service) {
    metrics::gauge!(BUILD_INFO, "service" => service.name(), "version" => VERSION).set(1.0);
    for Metric { name, kind, initial, .. } in
        METRICS.iter().filter(|metric| metric.services.contains(&service))
    {
        match initial {
            Series::One => register_series(name, *kind, Vec::new()),
            Series::Each(label, values) => {
                for value in *values {
                    register_series(name, *kind, vec![Label::from_static_parts(label, value)]);
                }
            }
            Series::Later => {}
        }
    }
}

fn register_series(name: &'static str, kind: Kind, labels: Vec<Label>) {
    match kind {
        Kind::Counter => metrics::counter!(name, labels).increment(0),
        Kind::Gauge => metrics::gauge!(name, labels).increment(0.0),
        Kind::Histogram => drop(metrics::histogram!(name, labels)),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{ACCEPT_DURATION_SECONDS, ACCEPTED_TOTAL},
        *,
    };

    #[test]
    fn series_of_the_service_are_exported_from_the_start() {
        let recorder = new_builder().expect("a builder").build_recorder();
        let handle = MetricsHandle { prometheus: recorder.handle(), process: None };
        metrics::with_local_recorder(&recorder, || {
            describe_metrics();
            init_series(Service::WsFanout);
        });
        let rendered = handle.render();
        for series in [
            "mayfly_build_info{service=\"ws-fanout\",version=",
            "mayfly_connections_closed_total{code=\"4000\"} 0",
            "mayfly_connections 0",
            "mayfly_delivery_latency_seconds_count 0",
        ] {
            assert!(rendered.contains(series), "{series}: {rendered}");
        }
        assert!(
            !rendered.contains("mayfly_accepted_total"),
            "ws-fanout accepts no writes: {rendered}"
        );
    }

    #[test]
    fn histograms_are_rendered_with_buckets() {
        let recorder = new_builder().expect("a builder").build_recorder();
        let handle = MetricsHandle { prometheus: recorder.handle(), process: None };
        metrics::with_local_recorder(&recorder, || {
            describe_metrics();
            metrics::histogram!(ACCEPT_DURATION_SECONDS).record(0.003);
            metrics::histogram!(BATCH_ENTRIES).record(700.0);
            metrics::counter!(ACCEPTED_TOTAL, "kind" => "message").increment(2);
        });
        let rendered = handle.render();
        assert!(rendered.contains("# HELP mayfly_accept_duration_seconds "), "{rendered}");
        assert!(
            rendered.contains("mayfly_accept_duration_seconds_bucket{le=\"0.005\"} 1"),
            "{rendered}"
        );
        assert!(
            rendered.contains("mayfly_accept_duration_seconds_bucket{le=\"0.0025\"} 0"),
            "{rendered}"
        );
        assert!(rendered.contains("mayfly_batch_entries_bucket{le=\"500\"} 0"), "{rendered}");
        assert!(rendered.contains("mayfly_batch_entries_bucket{le=\"1000\"} 1"), "{rendered}");
        assert!(rendered.contains("mayfly_accepted_total{kind=\"message\"} 2"), "{rendered}");
    }
}
