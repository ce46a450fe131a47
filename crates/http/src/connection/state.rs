//! The state of a connection, shared by its socket, the middleware and the response bodies.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    os::fd::RawFd,
    sync::Arc,
    task::Waker,
    time::Instant,
};

use super::unread::{StalledConnection, UnreadResponses};
use crate::Problem;

/// Maximum number of requests on a connection that have been passed to the HTTP library but have
/// not started. Once the maximum is reached, another request is passed on only after an earlier
/// request starts.
const PIPELINED_REQUESTS_MAX: u64 = 16;

/// The state of a connection. All of its users run on the same thread.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    id: u64,
    socket: RawFd,
    unread: Arc<UnreadResponses>,
    /// The number of unread bytes in large response bodies and, while the connection is stalled, in
    /// the write buffer.
    unread_bytes: Cell<usize>,
    /// The part of `unread_bytes` that is in the write buffer.
    buffered_bytes: Cell<usize>,
    /// If the connection is stalled, the time when it was added to the list of stalled connections,
    /// and the number of its unread bytes at that time.
    stalled: Cell<Option<(Instant, usize)>>,
    /// The number of unread bytes that the list contained for the connection when the server began
    /// to close it.
    closing_bytes: Cell<usize>,
    /// The number of requests that have been passed to the HTTP library.
    received: Cell<u64>,
    /// The number of requests that have started. Requests start in the order of their arrival.
    started: Cell<u64>,
    /// The requests that must be rejected: the sequence number of each request, and the problem to
    /// respond with.
    rejections: RefCell<VecDeque<(u64, Problem)>>,
    /// The task to wake when the connection may read again.
    reader: RefCell<Option<Waker>>,
}

impl ConnectionState {
    pub(super) fn new(socket: RawFd, unread: Arc<UnreadResponses>) -> Self {
        Self {
            id: unread.next_id(),
            socket,
            unread,
            unread_bytes: Cell::new(0),
            buffered_bytes: Cell::new(0),
            stalled: Cell::new(None),
            closing_bytes: Cell::new(0),
            received: Cell::new(0),
            started: Cell::new(0),
            rejections: RefCell::default(),
            reader: RefCell::default(),
        }
    }

    /// Records that a request starts, and wakes the task that waits to read. If the request must be
    /// rejected, returns the problem to respond with.
    pub(crate) fn begin_request(&self) -> Option<Problem> {
        let number = self.started.get() + 1;
        self.started.set(number);
        self.resume_reading();
        let mut rejections = self.rejections.borrow_mut();
        let is_rejected = rejections.front().is_some_and(|(rejected, _)| *rejected == number);
        if is_rejected { rejections.pop_front().map(|(_, problem)| problem) } else { None }
    }

    /// Records that a request is passed to the HTTP library. If `rejection` is `Some`, the request
    /// will be rejected with this problem.
    pub(super) fn add_request(&self, rejection: Option<Problem>) {
        let number = self.received.get() + 1;
        self.received.set(number);
        if let Some(problem) = rejection {
            self.rejections.borrow_mut().push_back((number, problem));
        }
    }

    /// Returns whether another request may be passed on.
    pub(super) fn accepts_request(&self) -> bool {
        self.received.get() - self.started.get() < PIPELINED_REQUESTS_MAX
    }

    /// Returns whether every request that was passed on has started.
    pub(super) fn has_started_all(&self) -> bool {
        self.received.get() == self.started.get()
    }

    /// Stores the task to wake when the connection may read again.
    pub(super) fn wait_to_read(&self, waker: &Waker) {
        *self.reader.borrow_mut() = Some(waker.clone());
    }

    pub(super) fn resume_reading(&self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    /// Adds unread bytes. If the server then holds too many unread bytes, closes stalled
    /// connections.
    pub(crate) fn add_unread(&self, bytes: usize) {
        self.unread_bytes.set(self.unread_bytes.get() + bytes);
        self.unread.add(bytes);
    }

    /// Subtracts bytes that are no longer held for the client.
    pub(crate) fn remove_unread(&self, bytes: usize) {
        self.unread_bytes.set(self.unread_bytes.get() - bytes);
        self.unread.remove(bytes);
    }

    /// Records that the client stopped reading at `now`, while the write buffer contained
    /// `buffered` bytes. If the server then holds too many unread bytes, closes the connections
    /// that have been stalled for the longest time.
    pub(super) fn mark_stalled(&self, now: Instant, buffered: usize) {
        self.clear_stalled();
        self.buffered_bytes.set(buffered);
        let bytes = self.unread_bytes.get() + buffered;
        self.stalled.set(Some((now, bytes)));
        self.unread.add_stalled(now, self.id, StalledConnection { socket: self.socket, bytes });
        self.add_unread(buffered);
    }

    /// Removes the connection from the list of stalled connections, because the client reads again
    /// or the connection is closed.
    pub(super) fn clear_stalled(&self) {
        if let Some((since, bytes)) = self.stalled.take() {
            if !self.unread.remove_stalled(since, self.id) {
                self.closing_bytes.set(self.closing_bytes.get() + bytes);
            }
            self.remove_unread(self.buffered_bytes.take());
        }
    }
}

impl Drop for ConnectionState {
    fn drop(&mut self) {
        // Paced response bodies hold references to the state, so all of them have been dropped.
        self.unread.finish_closing(self.closing_bytes.get());
    }
}
