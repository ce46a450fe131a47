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

/// Maximum number of bytes on a connection that have been passed to the HTTP library but not to a
/// handler when another head is passed on. A larger head is passed on after all earlier requests
/// end.
const WAITING_BYTES_MAX: usize = 16 * 1024;
/// Maximum number of such bytes when another part of a body is read. The part can exceed the
/// maximum. Most bodies are smaller and are not copied, because they reach the handler as a whole.
const WAITING_BODY_BYTES_MAX: usize = 64 * 1024;

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
    /// The number of requests that have ended. Requests end in the order of their arrival.
    ended: Cell<u64>,
    /// The number of bytes that have been passed to the HTTP library but not to a handler.
    waiting_bytes: Cell<usize>,
    /// The part of `waiting_bytes` that belongs to the body of the last request.
    body_bytes: Cell<usize>,
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
            ended: Cell::new(0),
            waiting_bytes: Cell::new(0),
            body_bytes: Cell::new(0),
            rejections: RefCell::default(),
            reader: RefCell::default(),
        }
    }

    /// Records that a request starts, and wakes the task that waits to read. If the request must be
    /// rejected, returns the problem to respond with.
    pub(crate) fn begin_request(&self) -> Option<Problem> {
        let number = self.started.get() + 1;
        self.started.set(number);
        if self.has_started_all() {
            self.waiting_bytes.set(self.body_bytes.get());
        }
        self.resume_reading();
        let mut rejections = self.rejections.borrow_mut();
        let is_rejected = rejections.front().is_some_and(|(rejected, _)| *rejected == number);
        if is_rejected { rejections.pop_front().map(|(_, problem)| problem) } else { None }
    }

    /// Records that a request ends, and wakes the task that waits to read. If the response is a
    /// stream, the request ends with the response.
    pub(crate) fn end_request(&self) {
        self.ended.set(self.ended.get() + 1);
        if self.has_ended_all() {
            self.waiting_bytes.set(0);
            self.body_bytes.set(0);
        }
        self.resume_reading();
    }

    /// Records that a handler has read all received bytes of the body and waits for more.
    pub(crate) fn expect_body(&self) {
        // If no bytes are waiting, the reader does not wait for the handler. A wake would then poll
        // the handler again, without end while the client does not read its responses.
        if self.has_started_all() && self.waiting_bytes.get() > 0 {
            self.waiting_bytes.set(0);
            self.body_bytes.set(0);
            self.resume_reading();
        }
    }

    /// Records that a request, whose head has `bytes` bytes, is passed to the HTTP library. If
    /// `rejection` is `Some`, the request will be rejected with this problem.
    pub(super) fn add_request(&self, bytes: usize, rejection: Option<Problem>) {
        let number = self.received.get() + 1;
        self.received.set(number);
        self.waiting_bytes.set(self.waiting_bytes.get() + bytes);
        self.body_bytes.set(0);
        if let Some(problem) = rejection {
            self.rejections.borrow_mut().push_back((number, problem));
        }
    }

    /// Records that the last request that was passed on will be rejected with `problem`. The
    /// request must not have started.
    pub(super) fn reject_last_request(&self, problem: Problem) {
        self.rejections.borrow_mut().push_back((self.received.get(), problem));
    }

    /// Records that bytes of the body of the last request are passed to the HTTP library.
    pub(super) fn add_body(&self, bytes: usize) {
        self.waiting_bytes.set(self.waiting_bytes.get() + bytes);
        self.body_bytes.set(self.body_bytes.get() + bytes);
    }

    /// Returns whether a head of `bytes` bytes may be passed on.
    pub(super) fn accepts_request(&self, bytes: usize) -> bool {
        let fits = self.waiting_bytes.get() + bytes <= WAITING_BYTES_MAX;
        let waiting = self.received.get() - self.started.get();
        waiting < PIPELINED_REQUESTS_MAX && (fits || self.has_ended_all())
    }

    /// Returns whether more of the body of the last request may be passed on. The rest of a body
    /// that no handler has read is passed on after the request ends, so that it is discarded.
    pub(super) fn accepts_body(&self) -> bool {
        self.waiting_bytes.get() < WAITING_BODY_BYTES_MAX || self.has_ended_all()
    }

    /// Returns whether every request that was passed on has started.
    pub(super) fn has_started_all(&self) -> bool {
        self.received.get() == self.started.get()
    }

    fn has_ended_all(&self) -> bool {
        self.received.get() == self.ended.get()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_handler_wakes_the_reader_once_per_part_of_the_body() {
        let state = ConnectionState::new(-1, Arc::new(UnreadResponses::new(1)));
        let is_reader_woken = || {
            state.wait_to_read(Waker::noop());
            state.expect_body();
            state.reader.borrow().is_none()
        };
        state.add_request(100, None);
        state.begin_request();
        for _ in 0..2 {
            state.add_body(100);
            assert!(is_reader_woken());
            assert!(!is_reader_woken(), "the handler would be polled in a loop");
        }
    }
}
