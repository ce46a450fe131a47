//! The metrics recorder of a process, and the handle that renders the metrics.

use std::time::Duration;

use anyhow::Context;
use metrics::{Label, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

use super::{BUILD_INFO, METRICS, Metric, Series, definition::Kind};
use crate::{Service, VERSION};

/// The interval between aggregations of the recorded values into buckets. Without the aggregation,
/// values would accumulate in memory while the process is not scraped.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The rendered `TYPE` line of the CPU time. `metrics-process` records the CPU time as a gauge,
/// because the counters of the `metrics` crate are integers.
const CPU_TIME_GAUGE: &str = "# TYPE process_cpu_seconds_total gauge\n";
/// The correct `TYPE` line of the CPU time, which replaces [`CPU_TIME_GAUGE`].
const CPU_TIME_COUNTER: &str = "# TYPE process_cpu_seconds_total counter\n";

/// A handle that renders the metrics of this process.
#[derive(Clone, Debug)]
pub struct MetricsHandle {
    prometheus: PrometheusHandle,
    /// The collector of process metrics, such as memory and CPU time. `None` for a detached handle.
    process: Option<Collector>,
}

impl MetricsHandle {
    /// Installs the global recorder of this process, and registers the metrics in `tables` and the
    /// metrics of this crate.
    ///
    /// # Errors
    /// If a recorder is already installed, or if a histogram has no buckets.
    pub fn install(service: Service, tables: &[&[Metric]]) -> anyhow::Result<Self> {
        let exported = [METRICS, &tables.concat()].concat();
        let recorder = new_builder(&exported)?.build_recorder();
        let prometheus = recorder.handle();
        metrics::set_global_recorder(recorder)
            .context("a metrics recorder is already installed")?;
        register_metrics(&exported);
        set_build_info(service);
        let process = Collector::default();
        process.describe();
        Ok(Self { prometheus, process: Some(process) })
    }

    /// Returns a handle to an empty recorder that is not installed.
    pub fn detached() -> Self {
        Self { prometheus: PrometheusBuilder::new().build_recorder().handle(), process: None }
    }

    /// Collects the process metrics, and renders all metrics in the Prometheus text format.
    pub fn render(&self) -> String {
        if let Some(process) = &self.process {
            process.collect();
        }
        self.prometheus.render().replacen(CPU_TIME_GAUGE, CPU_TIME_COUNTER, 1)
    }

    /// Periodically aggregates the recorded values into buckets. Never completes.
    pub(crate) async fn run_upkeep(self) {
        let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
        loop {
            ticks.tick().await;
            self.prometheus.run_upkeep();
        }
    }
}

fn set_build_info(service: Service) {
    metrics::gauge!(BUILD_INFO, "service" => service.name(), "version" => VERSION).set(1.0);
}

/// Returns a builder with the buckets of all histograms.
fn new_builder(exported: &[Metric]) -> anyhow::Result<PrometheusBuilder> {
    exported.iter().try_fold(PrometheusBuilder::new(), |builder, metric| match metric.kind {
        Kind::Histogram { buckets } => builder
            .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)
            .with_context(|| format!("invalid buckets of the histogram {}", metric.name)),
        Kind::Counter | Kind::Gauge => Ok(builder),
    })
}

/// Registers the help texts, and the series that are exported as 0 from the start.
fn register_metrics(exported: &[Metric]) {
    for metric in exported {
        register_help(metric);
        match metric.initial {
            Series::One => register_series(metric, Vec::new()),
            Series::Each(label, values) => {
                for value in values {
                    register_series(metric, vec![Label::from_static_parts(label, value)]);
                }
            }
            Series::Later => {}
        }
    }
}

fn register_help(&Metric { name, help, kind, .. }: &Metric) {
    match kind {
        Kind::Counter => describe_counter!(name, help),
        Kind::Gauge => describe_gauge!(name, help),
        Kind::Histogram { .. } => describe_histogram!(name, help),
    }
}

fn register_series(&Metric { name, kind, .. }: &Metric, labels: Vec<Label>) {
    match kind {
        Kind::Counter => metrics::counter!(name, labels).increment(0),
        Kind::Gauge => metrics::gauge!(name, labels).increment(0.0),
        Kind::Histogram { .. } => drop(metrics::histogram!(name, labels)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPORTED: &[Metric] = &[
        Metric::counter("closed_total", "Closed connections", Series::Each("code", &["1000"])),
        Metric::gauge("connections", "Open connections", Series::One),
        Metric::gauge("age_seconds", "Age of the snapshot", Series::Later),
        Metric::duration_histogram("wait_seconds", "Time in the queue", Series::One),
        Metric::histogram("batch_entries", "Entries per batch", &[500.0, 1_000.0], Series::One),
        Metric::wait_histogram("delay_seconds", "Time until it was stored", Series::One),
    ];

    /// Registers [`EXPORTED`], calls `record`, and renders the metrics.
    fn render_recorded(record: impl FnOnce()) -> String {
        let recorder = new_builder(EXPORTED).expect("valid buckets").build_recorder();
        let handle = MetricsHandle { prometheus: recorder.handle(), process: None };
        metrics::with_local_recorder(&recorder, || {
            register_metrics(EXPORTED);
            record();
        });
        handle.render()
    }

    #[test]
    fn initial_series_are_exported_from_the_start() {
        let rendered = render_recorded(|| {});
        for series in ["closed_total{code=\"1000\"} 0", "connections 0", "wait_seconds_count 0"] {
            assert!(rendered.contains(series), "{series}: {rendered}");
        }
        assert!(!rendered.contains("age_seconds"), "{rendered}");
    }

    #[test]
    fn process_metrics_are_counters_if_their_names_end_with_total() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let process = Collector::default();
        let handle =
            MetricsHandle { prometheus: recorder.handle(), process: Some(process.clone()) };
        let rendered = metrics::with_local_recorder(&recorder, || {
            process.describe();
            handle.render()
        });
        let types = rendered.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let types: Vec<_> = types.filter_map(|line| line.split_once(' ')).collect();
        assert!(types.contains(&("process_cpu_seconds_total", "counter")), "{rendered}");
        for (name, kind) in types {
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
        }
    }

    #[test]
    fn waits_during_an_outage_are_within_the_buckets() {
        let rendered = render_recorded(|| {
            metrics::histogram!("delay_seconds").record(7_200.0);
            metrics::histogram!("wait_seconds").record(45.0);
        });
        for line in [
            "delay_seconds_bucket{le=\"3600\"} 0",
            "delay_seconds_bucket{le=\"14400\"} 1",
            "wait_seconds_bucket{le=\"60\"} 1",
        ] {
            assert!(rendered.lines().any(|rendered| rendered == line), "{line}: {rendered}");
        }
    }

    #[test]
    fn build_info_names_the_service_and_its_version() {
        let rendered = render_recorded(|| set_build_info(Service::WsFanout));
        let series = format!("mayfly_build_info{{service=\"ws-fanout\",version=\"{VERSION}\"}} 1");
        assert!(rendered.contains(&series), "{rendered}");
    }

    #[test]
    fn metrics_are_rendered_with_help_texts_and_buckets() {
        let rendered = render_recorded(|| {
            metrics::histogram!("wait_seconds").record(0.003);
            metrics::histogram!("batch_entries").record(700.0);
            metrics::counter!("closed_total", "code" => "4000").increment(2);
        });
        for line in [
            "# HELP wait_seconds Time in the queue",
            "wait_seconds_bucket{le=\"0.005\"} 1",
            "wait_seconds_bucket{le=\"0.0025\"} 0",
            "batch_entries_bucket{le=\"500\"} 0",
            "batch_entries_bucket{le=\"1000\"} 1",
            "closed_total{code=\"4000\"} 2",
        ] {
            assert!(rendered.lines().any(|rendered| rendered == line), "{line}: {rendered}");
        }
    }
}
