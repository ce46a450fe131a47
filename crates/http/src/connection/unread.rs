//! Response bytes that clients have not read.

use std::{
    collections::BTreeMap,
    os::fd::RawFd,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Instant,
};

use metrics::{Counter, Gauge};
use nix::sys::socket::{Shutdown, shutdown};
use parking_lot::Mutex;

use crate::metrics as names;

/// A connection to a client that is not reading.
#[derive(Debug, Clone, Copy)]
pub(super) struct StalledConnection {
    pub(super) socket: RawFd,
    /// The number of unread bytes when the connection was listed.
    pub(super) bytes: usize,
}

/// A counter of the unread response bytes on all connections of a server. If the limit is exceeded,
/// the server first closes the connections that have been stalled for the longest time, so clients
/// that read slowly are disconnected last.
pub(crate) struct UnreadResponses {
    bytes_max: usize,
    bytes: AtomicUsize,
    /// The part of `bytes` that belongs to connections that are being closed.
    closing_bytes: AtomicUsize,
    last_id: AtomicU64,
    /// The stalled connections, ordered by the time when they were added and then by ID.
    stalled: Mutex<BTreeMap<(Instant, u64), StalledConnection>>,
    gauge: Gauge,
    closed: Counter,
}

impl std::fmt::Debug for UnreadResponses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnreadResponses").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl UnreadResponses {
    /// Creates a counter with a limit of `bytes_max` unread bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            bytes: AtomicUsize::new(0),
            closing_bytes: AtomicUsize::new(0),
            last_id: AtomicU64::new(0),
            stalled: Mutex::default(),
            gauge: metrics::gauge!(names::HTTP_UNREAD_BYTES),
            closed: metrics::counter!(
                names::HTTP_CONNECTIONS_CLOSED_TOTAL,
                "reason" => names::CLOSED_UNREAD
            ),
        }
    }

    pub(super) fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn add(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let total = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.gauge.increment(as_f64(bytes));
        if total > self.bytes_max {
            self.close_stalled(total - self.bytes_max);
        }
    }

    pub(super) fn remove(&self, bytes: usize) {
        if bytes > 0 {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.gauge.decrement(as_f64(bytes));
        }
    }

    pub(super) fn add_stalled(&self, since: Instant, id: u64, connection: StalledConnection) {
        self.stalled.lock().insert((since, id), connection);
    }

    /// Removes a connection from the list. Returns whether the connection was listed. If not, the
    /// server is already closing it.
    pub(super) fn remove_stalled(&self, since: Instant, id: u64) -> bool {
        self.stalled.lock().remove(&(since, id)).is_some()
    }

    /// Subtracts the bytes of a connection that the server has finished closing.
    pub(super) fn finish_closing(&self, bytes: usize) {
        self.closing_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Closes stalled connections until the connections that are being closed hold at least
    /// `excess` bytes, or until none is stalled. The connection tasks release the bytes.
    fn close_stalled(&self, excess: usize) {
        let mut stalled = self.stalled.lock();
        while self.closing_bytes.load(Ordering::Relaxed) < excess {
            let Some((_, connection)) = stalled.pop_first() else { break };
            self.closing_bytes.fetch_add(connection.bytes, Ordering::Relaxed);
            // The descriptor is still open, because a connection locks the list before it closes
            // its socket. An error means that the client has disconnected.
            let _ = shutdown(connection.socket, Shutdown::Both);
            self.closed.increment(1);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes are below 2^53")]
fn as_f64(bytes: usize) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::fd::AsRawFd, os::unix::net::UnixStream, time::Duration};

    use super::*;

    #[test]
    fn connections_stalled_for_the_longest_time_are_closed_first() {
        let unread = UnreadResponses::new(100);
        let start = Instant::now();
        let pairs: Vec<_> = (0..3).map(|_| UnixStream::pair().expect("a pair")).collect();
        // The last connection has been stalled for the longest time.
        for (id, (socket, _)) in (0..).zip(&pairs) {
            let connection = StalledConnection { socket: socket.as_raw_fd(), bytes: 60 };
            unread.add_stalled(start + Duration::from_secs(10 - id), id, connection);
        }
        unread.add(60);
        unread.add(40);
        assert_eq!(unread.stalled.lock().len(), 3, "100 bytes are allowed");
        unread.add(60);
        assert_eq!(unread.stalled.lock().len(), 2, "60 bytes exceed the limit");
        let mut end = pairs[2].1.try_clone().expect("a handle");
        end.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        assert_eq!(end.read(&mut [0; 1]).expect("the connection is closed"), 0);
        unread.add(0);
        assert_eq!(unread.stalled.lock().len(), 2, "the bytes will be released");
        unread.remove(60);
        unread.finish_closing(60);
        unread.add(20);
        assert_eq!(unread.stalled.lock().len(), 1, "20 bytes exceed the limit");
    }
}
