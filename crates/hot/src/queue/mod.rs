//! The queues: Redis streams, each with one consumer group for its workers. Entries are delivered
//! at least once.

mod ack;
mod consumer;
mod consumption;
mod contents;
mod delivery;
mod depth;
mod entries;
mod ledger;
mod maintenance;
mod stream;
mod trim;
mod writers;

pub(crate) use self::delivery::parse_entries;
pub use self::{
    consumer::Consumer,
    contents::{PendingEntry, QueueContents},
    delivery::{Delivery, ReadBatch},
    depth::QueueDepth,
    ledger::{Ledger, StreamLedger},
    maintenance::ReconciledMessages,
    stream::Stream,
    trim::TrimOutcome,
    writers::{WriterReport, Writers},
};

use crate::connection::HotStore;

/// Operations on the queues.
#[derive(Clone, Copy)]
pub struct Queue<'a> {
    store: &'a HotStore,
}

impl HotStore {
    /// Returns the operations on the queues.
    #[must_use]
    pub fn queue(&self) -> Queue<'_> {
        Queue { store: self }
    }
}
