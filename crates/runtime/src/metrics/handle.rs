//! The recorder of a process, and the handle that shows what it recorded.

use std::time::Duration;

use anyhow::Context;
use metrics::{Label, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

use super::{BATCH_ENTRIES, BUILD_INFO, Kind, METRICS, Metric, Series};
use crate::{Service, VERSION};

/// Upper bounds of the histograms in seconds, from half a millisecond to ten seconds.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Upper bounds of [`BATCH_ENTRIES`].
const BATCH_BUCKETS: [f64; 11] =
    [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0];

/// How often what was recorded is folded into the buckets, so that it does not pile up when nobody asks.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Shows the metrics of this process.
#[derive(Clone, Debug)]
pub struct MetricsHandle {
    prometheus: PrometheusHandle,
    /// Looks at the process itself when it is asked; none where nothing is recorded.
    process: Option<Collector>,
}

impl MetricsHandle {
    /// Makes the recorder of this process, which runs a service, and describes every metric.
    ///
    /// # Errors
    /// If there is one already.
    pub fn install(service: Service) -> anyhow::Result<Self> {
        let recorder = builder()?.build_recorder();
        let prometheus = recorder.handle();
        metrics::set_global_recorder(recorder)
            .context("the recorder of metrics is there already")?;
        describe();
        begin(service);
        let process = Collector::default();
        process.describe();
        Ok(Self { prometheus, process: Some(process) })
    }

    /// Makes a handle that nothing records to.
    pub fn detached() -> Self {
        Self { prometheus: PrometheusBuilder::new().build_recorder().handle(), process: None }
    }

    /// Writes all metrics in the text format of Prometheus.
    pub fn render(&self) -> String {
        if let Some(process) = &self.process {
            process.collect();
        }
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
    let batches = Matcher::Full(BATCH_ENTRIES.to_owned());
    PrometheusBuilder::new()
        .set_buckets(&BUCKETS)
        .and_then(|builder| builder.set_buckets_for_metric(batches, &BATCH_BUCKETS))
        .context("the buckets of histograms")
}

/// Says what every metric means.
fn describe() {
    for Metric { name, kind, help, .. } in METRICS {
        match kind {
            Kind::Counter => describe_counter!(name, help),
            Kind::Gauge => describe_gauge!(name, help),
            Kind::Histogram => describe_histogram!(name, help),
        }
    }
}

/// Begins the series of a service that can be known before something happens.
fn begin(service: Service) {
    metrics::gauge!(BUILD_INFO, "service" => service.name(), "version" => VERSION).set(1.0);
    for Metric { name, kind, begins, .. } in
        METRICS.iter().filter(|metric| metric.of.contains(&service))
    {
        match begins {
            Series::One => begin_series(name, *kind, Vec::new()),
            Series::Each(label, values) => {
                for value in *values {
                    begin_series(name, *kind, vec![Label::from_static_parts(label, value)]);
                }
            }
            Series::Later => {}
        }
    }
}

fn begin_series(name: &'static str, kind: Kind, labels: Vec<Label>) {
    match kind {
        Kind::Counter => metrics::counter!(name, labels).increment(0),
        Kind::Gauge => metrics::gauge!(name, labels).increment(0.0),
        Kind::Histogram => drop(metrics::histogram!(name, labels)),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{ACCEPT_SECONDS, ACCEPTED_TOTAL},
        *,
    };

    #[test]
    fn what_can_happen_is_shown_before_it_does() {
        let recorder = builder().expect("a builder").build_recorder();
        let handle = MetricsHandle { prometheus: recorder.handle(), process: None };
        metrics::with_local_recorder(&recorder, || {
            describe();
            begin(Service::WsFanout);
        });
        let shown = handle.render();
        for series in [
            "mayfly_build_info{service=\"ws-fanout\",version=",
            "mayfly_closed_total{code=\"4000\"} 0",
            "mayfly_connections 0",
            "mayfly_delivery_seconds_count 0",
        ] {
            assert!(shown.contains(series), "{series}: {shown}");
        }
        assert!(!shown.contains("mayfly_accepted_total"), "it accepts nothing: {shown}");
    }

    #[test]
    fn histograms_are_shown_with_buckets() {
        let recorder = builder().expect("a builder").build_recorder();
        let handle = MetricsHandle { prometheus: recorder.handle(), process: None };
        metrics::with_local_recorder(&recorder, || {
            describe();
            metrics::histogram!(ACCEPT_SECONDS).record(0.003);
            metrics::histogram!(BATCH_ENTRIES).record(700.0);
            metrics::counter!(ACCEPTED_TOTAL, "kind" => "message").increment(2);
        });
        let shown = handle.render();
        assert!(shown.contains("# HELP mayfly_accept_seconds "), "{shown}");
        assert!(shown.contains("mayfly_accept_seconds_bucket{le=\"0.005\"} 1"), "{shown}");
        assert!(shown.contains("mayfly_accept_seconds_bucket{le=\"0.0025\"} 0"), "{shown}");
        assert!(shown.contains("mayfly_batch_entries_bucket{le=\"500\"} 0"), "{shown}");
        assert!(shown.contains("mayfly_batch_entries_bucket{le=\"1000\"} 1"), "{shown}");
        assert!(shown.contains("mayfly_accepted_total{kind=\"message\"} 2"), "{shown}");
    }
}
