//! The metrics of the cold store.

use mayfly_runtime::metrics::{Metric, Series};

/// 1 while the service can use Postgres, else 0.
pub const POSTGRES_UP: &str = "mayfly_postgres_up";

/// Metrics of every process that calls [`ColdStore::watch`](crate::ColdStore::watch).
pub const METRICS: &[Metric] =
    &[Metric::gauge(POSTGRES_UP, "1 while the service can use Postgres, else 0", Series::Later)];
