//! The state of a connection, shared by its socket, the middleware and the bodies of its responses.

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

/// Requests of a connection that may wait for earlier ones (pipelining). Further ones are read when
/// an earlier one starts.
const PIPELINED_REQUESTS_MAX: u64 = 16;

/// The state of a connection. All of its users run on the same thread.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    id: u64,
    socket: RawFd,
    unread: Arc<UnreadResponses>,
    /// Unread bytes of this connection: of the write buffer, and of bodies that are not yet in it.
    unread_bytes: Cell<usize>,
    /// The part of them that is in the write buffer.
    buffered_bytes: Cell<usize>,
    /// The time of the last progress, and the bytes that are listed, if the connection is stalled.
    stalled: Cell<Option<(Instant, usize)>>,
    /// The bytes that were listed when the server decided to close the connection.
    closing_bytes: Cell<usize>,
    /// Requests whose head was passed to the HTTP library.
    received: Cell<u64>,
    /// Requests that reached the middleware, in the same order.
    started: Cell<u64>,
    /// Requests that the middleware must reject, by their number.
    rejections: RefCell<VecDeque<(u64, Problem)>>,
    /// Wakes the connection when it may read again.
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

    /// Records that a request starts. Returns the problem with which it must be rejected, if its head
    /// was replaced.
    pub(crate) fn begin_request(&self) -> Option<Problem> {
        let number = self.started.get() + 1;
        self.started.set(number);
        self.resume_reading();
        let mut rejections = self.rejections.borrow_mut();
        let is_rejected = rejections.front().is_some_and(|(rejected, _)| *rejected == number);
        if is_rejected { rejections.pop_front().map(|(_, problem)| problem) } else { None }
    }

    /// Records that the head of a request is passed on, with the problem that must reject it.
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

    /// Counts bytes of a response body that wait for the client.
    pub(crate) fn add_unread(&self, bytes: usize) {
        self.unread_bytes.set(self.unread_bytes.get() + bytes);
        self.unread.add(bytes);
    }

    /// Stops counting bytes of a response body.
    pub(crate) fn remove_unread(&self, bytes: usize) {
        self.unread_bytes.set(self.unread_bytes.get() - bytes);
        self.unread.remove(bytes);
    }

    /// Records that the client does not read, since `now`, while `buffered` bytes are in the write
    /// buffer. If there are too many unread bytes, the connections that are stalled for the longest
    /// time are closed.
    pub(super) fn mark_stalled(&self, now: Instant, buffered: usize) {
        self.clear_stalled();
        self.buffered_bytes.set(buffered);
        let bytes = self.unread_bytes.get() + buffered;
        self.stalled.set(Some((now, bytes)));
        self.unread.add_stalled(now, self.id, StalledConnection { socket: self.socket, bytes });
        self.add_unread(buffered);
    }

    /// Records that the client reads again, or that the connection ends.
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
        // All bodies of the connection are dropped.
        self.unread.finish_closing(self.closing_bytes.get());
    }
}
