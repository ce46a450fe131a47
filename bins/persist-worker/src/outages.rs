//! The log of the failures that all workers of a process share, so that an outage has one line per
//! kind of work and not one per worker and entry.

use std::sync::Arc;

use mayfly_runtime::{ItemLog, LogBudget, OutageLog};

/// Entries that Postgres rejects are logged individually up to this number per minute.
const REJECTIONS_PER_MINUTE: u32 = 20;

/// The failures of the workers.
#[derive(Clone)]
pub struct WorkerOutages {
    /// Reads of new entries.
    pub read: OutageLog,
    /// Claims of the entries of other workers.
    pub claim: OutageLog,
    /// Storage and acknowledgment.
    pub process: OutageLog,
    /// Reports to other parts of the system, which are not retried.
    pub report: OutageLog,
    /// Rejected batches, entries and dead letters.
    pub rejections: Arc<LogBudget>,
    /// Entries whose dead letter Postgres rejects. They stay pending.
    pub dead_letters: Arc<ItemLog>,
}

impl WorkerOutages {
    /// Creates the logs of workers that have not failed yet.
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
