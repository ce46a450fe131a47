//! Metrics: their definitions, and the recorder that exports them.
//!
//! The crate or service that records a metric defines the metric in its `metrics` module. A service
//! passes the tables of the metrics that it exports to [`run`](crate::run).

mod definition;
mod handle;

pub use self::{
    definition::{Metric, Series},
    handle::MetricsHandle,
};

/// Always 1; the labels `service` and `version` identify the build.
pub const BUILD_INFO: &str = "mayfly_build_info";
/// 1 while a `component` is up, else 0. The process is not ready while a component with
/// `required="true"` is down.
pub const COMPONENT_UP: &str = "mayfly_component_up";
/// Items that a `task` skipped because they failed, such as hosts that cannot be sampled.
pub const SKIPPED_ITEMS_TOTAL: &str = "mayfly_skipped_items_total";

/// The metrics of this crate, which every service exports.
pub const METRICS: &[Metric] = &[
    Metric::gauge(BUILD_INFO, "Version of the running service; always 1", Series::Later),
    Metric::gauge(COMPONENT_UP, "1 while a component is up, else 0", Series::Later),
    Metric::counter(
        SKIPPED_ITEMS_TOTAL,
        "Items that a task skipped because they failed",
        Series::Later,
    ),
];
