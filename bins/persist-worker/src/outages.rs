//! The failure logs that all workers of a process share. Outages are logged per kind of work, not
//! per worker or entry.

use std::sync::Arc;

use mayfly_runtime::{ItemLog, LogBudget, OutageLog};

/// The maximum number of log lines per minute about rejections and dead letters.
const REJECTIONS_PER_MINUTE: u32 = 20;

/// The failure logs of the workers.
#[derive(Clone)]
pub struct WorkerOutages {
    /// Failures to read new entries.
    pub read: OutageLog,
    /// Failures to claim abandoned entries.
    pub claim: OutageLog,
    /// Failures to store or acknowledge entries.
    pub process: OutageLog,
    /// Failures to send heartbeats or report wait times. The workers do not retry these operations.
    pub report: OutageLog,
    /// The limit on log lines about rejected batches, rejected entries, and new dead letters.
    pub rejections: Arc<LogBudget>,
    /// Entries that Postgres rejects even as dead letters. They stay pending.
    pub dead_letters: Arc<ItemLog>,
}

impl WorkerOutages {
    /// Creates logs without failures.
    pub fn new() -> Self {
        Self {
            read: OutageLog::new("read the stream (the queue grows in the meantime)"),
            claim: OutageLog::new("claim abandoned entries (they stay pending)"),
            process: OutageLog::new("store and acknowledge entries (the queue grows)"),
            report: OutageLog::new("report wait times and heartbeats"),
            rejections: Arc::new(LogBudget::new(REJECTIONS_PER_MINUTE)),
            dead_letters: Arc::new(ItemLog::new("store dead letters")),
        }
    }
}
