//! A bounded queue of publications within a process.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use mayfly_runtime::OutageLog;
use tokio::sync::mpsc;

/// The maximum number of queued publications. Dropping a publication loses no data. When a later
/// message reveals a gap in the messages, the gap is filled from the stream. Redis also stores the
/// newest trend snapshot.
const PUBLICATIONS_MAX: usize = 4_096;
/// The maximum total size of queued publications, in bytes. With the default settings, every batch
/// of messages is smaller.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// The receiving end of a first-in, first-out queue for publications of one kind.
pub struct Publications {
    receiver: mpsc::Receiver<Bytes>,
    queued_bytes: Arc<AtomicUsize>,
}

/// The sending end of a queue for publications. Drops publications that do not fit into the queue.
#[derive(Clone)]
pub struct BoundedSink {
    sender: mpsc::Sender<Bytes>,
    queued_bytes: Arc<AtomicUsize>,
    /// The kind of publication, for the log.
    kind: &'static str,
    /// The log of dropped publications.
    outages: OutageLog,
}

impl Publications {
    /// Creates an empty queue and returns both of its ends. `kind` names the publications in the
    /// log.
    #[must_use]
    pub fn open(kind: &'static str) -> (BoundedSink, Self) {
        let (sender, receiver) = mpsc::channel(PUBLICATIONS_MAX);
        let queued_bytes = Arc::<AtomicUsize>::default();
        let outages = OutageLog::new("queue publications");
        let sink = BoundedSink { sender, queued_bytes: Arc::clone(&queued_bytes), kind, outages };
        (sink, Self { receiver, queued_bytes })
    }

    /// Waits for the next publication. Returns `None` once all sinks have been dropped and the
    /// queue is empty.
    pub async fn next(&mut self) -> Option<Bytes> {
        let publication = self.receiver.recv().await?;
        self.queued_bytes.fetch_sub(publication.len(), Ordering::Relaxed);
        Some(publication)
    }

    pub(super) fn try_next(&mut self) -> Option<Bytes> {
        let publication = self.receiver.try_recv().ok()?;
        self.queued_bytes.fetch_sub(publication.len(), Ordering::Relaxed);
        Some(publication)
    }
}

impl BoundedSink {
    /// Queues a publication, or drops it if the queue is full.
    pub(super) fn try_push(&mut self, publication: Bytes) {
        let bytes = publication.len();
        let fits = self.queued_bytes.load(Ordering::Relaxed) + bytes <= BYTES_MAX;
        let is_queued = fits && {
            self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
            let is_sent = self.sender.try_send(publication).is_ok();
            if !is_sent {
                self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
            is_sent
        };
        if is_queued {
            self.outages.record_success();
        } else {
            self.outages.record_failure(format_args!(
                "the queue for publications of {kind} is full ({PUBLICATIONS_MAX} publications or \
                 {BYTES_MAX} bytes); dropped publications will be read from Redis",
                kind = self.kind,
            ));
        }
    }
}
