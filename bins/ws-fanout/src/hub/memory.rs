//! The memory that connections hold, with one limit for the whole process.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, futures::Notified};

/// Approximate memory that a shared buffer occupies in addition to its bytes.
const BUFFER_OVERHEAD_BYTES: usize = 64;
/// Minimum interval between two log lines about closed connections.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The bytes that connections hold: frames that are waiting to be written, the chunk lists of send
/// queues, the names in subscriptions, and unprocessed client input. A buffer counts once,
/// regardless of the number of send queues that share it, because it occupies memory only once. If
/// every queue counted the buffer, a single batch for many clients could exceed the limit.
#[derive(Clone)]
pub(crate) struct ConnectionMemory(Arc<Usage>);

struct Usage {
    bytes: AtomicUsize,
    bytes_max: usize,
    /// The size of the largest connection of each worker. `None` if the worker has not reported
    /// this size since the limit was exceeded.
    largest: Mutex<Vec<Option<usize>>>,
    /// Notified when all workers must report their largest connections.
    exceeded: Notify,
    closes: Mutex<Closes>,
}

/// The log state for connections that were closed to free memory.
#[derive(Default)]
struct Closes {
    unlogged: usize,
    logged_at: Option<Instant>,
}

impl ConnectionMemory {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Usage {
            bytes: AtomicUsize::new(0),
            bytes_max,
            largest: Mutex::default(),
            exceeded: Notify::new(),
            closes: Mutex::default(),
        }))
    }

    /// Returns the number of bytes that connections hold.
    pub(crate) fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn is_exceeded(&self) -> bool {
        self.bytes() > self.0.bytes_max
    }

    /// Converts a buffer to shared bytes, which count as connection memory until the last reference
    /// to them is dropped.
    pub(crate) fn share(&self, buffer: Vec<u8>) -> Bytes {
        let buffer = CountedBuffer { buffer, memory: self.clone() };
        self.add(buffer.bytes());
        Bytes::from_owner(buffer)
    }

    /// Converts a buffer to stored bytes. The buffer counts from the time the [`StoredBytes`] value
    /// is dropped until the last reference to the buffer is dropped.
    pub(crate) fn store(&self, buffer: Vec<u8>) -> StoredBytes {
        let buffer = CountedBuffer { buffer, memory: self.clone() };
        let counted = buffer.bytes();
        StoredBytes { bytes: Bytes::from_owner(buffer), counted, memory: self.clone() }
    }

    /// Creates an empty reservation.
    pub(crate) fn reserve(&self) -> Reservation {
        Reservation { memory: self.clone(), bytes: 0 }
    }

    /// Adds a worker and returns its number.
    pub(super) fn add_worker(&self) -> usize {
        let mut largest = self.0.largest.lock();
        largest.push(None);
        largest.len() - 1
    }

    /// Waits until a worker detects that the limit is exceeded.
    pub(crate) fn wait_until_exceeded(&self) -> Notified<'_> {
        self.0.exceeded.notified()
    }

    /// Asks all workers to report their largest connections.
    pub(crate) fn notify_exceeded(&self) {
        self.0.exceeded.notify_waiters();
    }

    /// Reports the size of the largest connection of a worker. Returns whether all workers have
    /// reported and none has reported a larger size.
    pub(crate) fn report_largest(&self, worker: usize, bytes: usize) -> bool {
        let mut largest = self.0.largest.lock();
        largest[worker] = Some(bytes);
        largest.iter().all(|other| other.is_some_and(|other| other <= bytes))
    }

    /// Withdraws the report of a worker. Workers call this once the limit is no longer exceeded.
    pub(crate) fn withdraw_largest(&self, worker: usize) {
        self.0.largest.lock()[worker] = None;
    }

    /// Counts closed connections. At most once per minute, returns the number of closed connections
    /// that have not been logged.
    pub(crate) fn record_closes(&self, connections: usize, now: Instant) -> Option<usize> {
        let mut closes = self.0.closes.lock();
        closes.unlogged += connections;
        let is_due = closes.logged_at.is_none_or(|at| now >= at + LOG_INTERVAL);
        if closes.unlogged == 0 || !is_due {
            return None;
        }
        closes.logged_at = Some(now);
        Some(std::mem::take(&mut closes.unlogged))
    }

    fn add(&self, bytes: usize) {
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn subtract(&self, bytes: usize) {
        self.0.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A buffer that, when dropped, subtracts its size from the connection memory.
struct CountedBuffer {
    buffer: Vec<u8>,
    memory: ConnectionMemory,
}

impl CountedBuffer {
    fn bytes(&self) -> usize {
        self.buffer.capacity() + BUFFER_OVERHEAD_BYTES
    }
}

impl AsRef<[u8]> for CountedBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for CountedBuffer {
    fn drop(&mut self) {
        self.memory.subtract(self.bytes());
    }
}

/// Bytes that are also stored outside the send queues, for example for replays or as the newest
/// state of a feed, and do not count as connection memory there. Once this value is dropped, the
/// bytes count for as long as a send queue holds them.
pub(crate) struct StoredBytes {
    bytes: Bytes,
    counted: usize,
    memory: ConnectionMemory,
}

impl StoredBytes {
    pub(crate) fn memory(&self) -> &ConnectionMemory {
        &self.memory
    }
}

impl Deref for StoredBytes {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

impl Drop for StoredBytes {
    fn drop(&mut self) {
        // Dropping the last reference, which may be `self.bytes`, subtracts the same number of
        // bytes.
        self.memory.add(self.counted);
    }
}

/// Memory that a connection holds in addition to frames.
pub(crate) struct Reservation {
    memory: ConnectionMemory,
    bytes: usize,
}

impl Reservation {
    /// Sets the size of the reservation, in bytes.
    pub(crate) fn set(&mut self, bytes: usize) {
        if bytes == self.bytes {
            return;
        }
        self.memory.add(bytes);
        self.memory.subtract(std::mem::replace(&mut self.bytes, bytes));
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn memory(&self) -> &ConnectionMemory {
        &self.memory
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.memory.subtract(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_buffer_counts_once_until_its_last_reference_is_dropped() {
        let memory = ConnectionMemory::new(1_000);
        let first = memory.share(vec![0; 900]);
        let counted = memory.bytes();
        assert!((900..1_000).contains(&counted) && !memory.is_exceeded());
        let (second, part) = (first.clone(), first.slice(..1));
        assert_eq!(memory.bytes(), counted);
        drop((first, second));
        assert_eq!(memory.bytes(), counted, "a slice keeps the whole buffer in memory");
        drop(part);
        assert_eq!(memory.bytes(), 0);
    }

    #[test]
    fn stored_bytes_count_only_while_queues_alone_hold_them() {
        let memory = ConnectionMemory::new(10);
        let stored = memory.store(vec![0; 100]);
        let queued = stored.clone();
        assert_eq!(memory.bytes(), 0);
        drop(stored);
        assert!(memory.bytes() >= 100 && memory.is_exceeded());
        drop(queued);
        assert_eq!(memory.bytes(), 0);
        drop(memory.store(vec![0; 100]));
        assert_eq!(memory.bytes(), 0);
    }

    #[test]
    fn reservation_counts_its_current_size() {
        let memory = ConnectionMemory::new(10);
        let mut reservation = memory.reserve();
        for bytes in [7, 11, 3] {
            reservation.set(bytes);
            assert_eq!((memory.bytes(), reservation.bytes()), (bytes, bytes));
        }
        drop(reservation);
        assert_eq!(memory.bytes(), 0);
    }

    #[test]
    fn closed_connections_are_logged_once_per_minute() {
        let (memory, now) = (ConnectionMemory::new(10), Instant::now());
        let logged = [(0, 0), (2, 0), (3, 59), (0, 60), (0, 200)];
        let logged = logged.map(|(closed, seconds)| {
            memory.record_closes(closed, now + Duration::from_secs(seconds))
        });
        assert_eq!(logged, [None, Some(2), None, Some(3), None]);
    }

    #[test]
    fn largest_connection_is_known_once_all_workers_have_reported() {
        let memory = ConnectionMemory::new(10);
        let (one, other) = (memory.add_worker(), memory.add_worker());
        assert!(!memory.report_largest(one, 5), "the other worker has not reported");
        assert!(!memory.report_largest(other, 4));
        assert!(memory.report_largest(one, 4), "equal sizes");
        assert!(memory.report_largest(other, 6));
        memory.withdraw_largest(other);
        assert!(!memory.report_largest(one, 5));
    }
}
