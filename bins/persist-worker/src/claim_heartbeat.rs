//! The heartbeat that keeps other workers from claiming the entries that a worker holds.

use std::{cell::RefCell, time::Duration};

use mayfly_hot::{Delivery, HotStore, Stream};
use mayfly_runtime::{OutageLog, ticker};

/// The interval between two heartbeats. A commit can begin at the end of an interval, so the
/// interval is shorter than the 5 s by which `queue.claim_after` exceeds
/// `persist.statement_timeout`.
const INTERVAL: Duration = Duration::from_secs(2);

/// The heartbeat of a worker for all entries that it holds: the batch that it processes, the batch
/// that it has read in advance, and the rejected entries that it will retry.
pub struct ClaimHeartbeat {
    hot: HotStore,
    stream: Stream,
    consumer: String,
    outages: OutageLog,
    entry_ids: RefCell<Vec<String>>,
}

impl ClaimHeartbeat {
    /// Creates a heartbeat without entries. `outages` records failures to send it.
    pub fn new(hot: HotStore, stream: Stream, consumer: String, outages: OutageLog) -> Self {
        Self { hot, stream, consumer, outages, entry_ids: RefCell::default() }
    }

    /// Replaces the entries of the heartbeat.
    pub fn set<'a>(&self, held: impl IntoIterator<Item = &'a Delivery>) {
        let held = held.into_iter().map(|delivery| delivery.entry_id.clone());
        *self.entry_ids.borrow_mut() = held.collect();
    }

    /// Adds entries that the worker has received.
    pub fn add(&self, received: &[Delivery]) {
        let received = received.iter().map(|delivery| delivery.entry_id.clone());
        self.entry_ids.borrow_mut().extend(received);
    }

    /// Sends the heartbeat periodically until aborted. The heartbeat resets the idle time of the
    /// entries, so that XAUTOCLAIM does not return them. It has no effect on entries that have been
    /// acknowledged. If another worker has claimed an entry, for example while this process was
    /// frozen, both workers process the entry.
    pub async fn run(&self) {
        let mut ticks = ticker(INTERVAL);
        loop {
            ticks.tick().await;
            let held = self.entry_ids.borrow().clone();
            if held.is_empty() {
                continue;
            }
            let entry_ids: Vec<&str> = held.iter().map(String::as_str).collect();
            let sent = self.hot.queue().reset_idle(self.stream, &self.consumer, &entry_ids).await;
            self.outages.record(&sent);
        }
    }
}
