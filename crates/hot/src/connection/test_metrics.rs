//! A recorder of metrics for tests.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Label, Metadata, Recorder, SharedString, Unit,
};
use parking_lot::Mutex;

/// A recorder that stores the values of counters and gauges. The name of a series is the name of
/// the metric, followed by a space and the value of each label.
#[derive(Default)]
pub(crate) struct TestRecorder(Mutex<HashMap<String, Arc<AtomicU64>>>);

impl TestRecorder {
    /// Returns the value of a counter.
    pub(crate) fn counter(&self, series: &str) -> Option<u64> {
        self.0.lock().get(series).map(|value| value.load(Ordering::Relaxed))
    }

    /// Returns the value of a gauge.
    pub(crate) fn gauge(&self, series: &str) -> Option<f64> {
        self.counter(series).map(f64::from_bits)
    }

    fn register(&self, key: &Key) -> Arc<AtomicU64> {
        let labels = key.labels().map(Label::value);
        let series = [key.name()].into_iter().chain(labels).collect::<Vec<_>>().join(" ");
        Arc::clone(self.0.lock().entry(series).or_default())
    }
}

impl Recorder for TestRecorder {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.register(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.register(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
