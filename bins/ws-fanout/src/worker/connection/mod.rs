//! The state of a connection in its worker.

mod credential;
mod send_queue;

use std::{
    io::{ErrorKind, IoSlice},
    rc::Rc,
    task::{Context, Waker},
    time::{Duration, Instant},
};

use actix_web::rt::net::TcpStream;
use bytes::Bytes;
use mayfly_core::{EntryId, Feed, Host, Position, frame::ForbiddenNames};
use mayfly_http::ConnectionHandle;

pub(crate) use self::credential::{Credential, Proof};
use self::send_queue::{SLICES_MAX, SendQueue};
use super::groups::{GroupKey, GroupSlot};
use crate::hub::{ConnectionMemory, Reservation};

/// A send queue with at most this many bytes has room for the next part of a replay.
const REPLAY_LOW_WATER_BYTES: usize = 64 * 1024;
/// Maximum size of a chunk of a response body, in bytes. actix-web copies each chunk to a write
/// buffer, which can therefore exceed its 8 KiB limit by at most this size.
const BODY_CHUNK_BYTES_MAX: usize = 8 * 1024;

/// The destination of a connection's frames.
pub(crate) enum Sink {
    /// A WebSocket, which the worker writes to.
    Socket(Rc<TcpStream>),
    /// A response body, which actix-web polls for the next chunk. The handle, if available, shuts
    /// down the connection even if actix-web does not poll the body.
    Sse(Option<ConnectionHandle>),
}

/// A stage in the lifecycle of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// `hello` has not been sent.
    Starting,
    /// The connection receives missed messages.
    Replaying,
    /// The connection receives new messages.
    Live,
    /// The server or the client has started to close the connection.
    Closing,
    /// The connection can be dropped.
    Closed,
}

/// A connection and its send queue.
#[expect(clippy::struct_excessive_bools, reason = "the flags are independent of each other")]
pub(crate) struct Connection {
    /// The ID that `hello` contains.
    pub(crate) id: uuid::Uuid,
    pub(crate) sink: Sink,
    pub(crate) stage: Stage,
    pub(crate) credential: Credential,
    pub(crate) group_key: Rc<GroupKey>,
    /// The slot of the connection in its group. `None` unless the connection is live.
    pub(crate) group_slot: Option<GroupSlot>,
    pub(crate) send_queue: SendQueue,
    /// The counted memory of unprocessed input.
    pub(crate) input: Reservation,
    /// The time when frames began to wait for the client, or the time of the last write progress
    /// since then. `None` if no frames are waiting.
    pub(crate) stalled_since: Option<Instant>,
    /// Whether the last write to the socket would have blocked.
    pub(crate) is_blocked: bool,
    /// Whether the connection is in the worker's list of connections to flush.
    pub(crate) is_dirty: bool,
    /// The entry up to which all entries that match the subscription have been queued, or reported
    /// to the client as missed in a `gap` or `hello` frame.
    pub(crate) delivered_to: EntryId,
    /// The requested names that the credentials do not allow, until they are reported after
    /// `hello`.
    pub(crate) forbidden: Option<Box<ForbiddenNames>>,
    /// The frames that have been dropped since the send queue became full.
    pub(crate) gap: Option<Box<Gap>>,
    /// The states whose newest frames will be queued once the send queue has room.
    pub(crate) pending_states: Vec<PendingState>,
    /// The time when the last frame with a position was queued or due.
    pub(crate) last_frame_at: Instant,
    pub(crate) next_ping_at: Instant,
    /// The deadline for an outstanding pong. There is no deadline while frames are waiting for the
    /// client, because the ping is queued behind these frames, and a client that reads them is
    /// alive.
    pub(crate) pong_deadline: Option<Instant>,
    /// Whether frames have waited for the client since the last ping. Kernel buffers may still hold
    /// some of these frames.
    pub(crate) was_blocked: bool,
    /// Whether the client has sent a Close frame, or has violated the protocol while the connection
    /// was closing. The connection is closed once the server's Close frame has been written.
    pub(crate) is_close_handshake_done: bool,
    /// Whether the close has been counted in the metrics.
    pub(crate) is_close_counted: bool,
    /// The time when the worker drops the connection if the connection is still closing.
    pub(crate) close_deadline: Option<Instant>,
    /// The waker of the task that serves the socket or the response body.
    pub(crate) task_waker: Option<Waker>,
    /// The waker of a replay that waits for room in the send queue.
    pub(crate) replay_waker: Option<Waker>,
}

/// A state whose newest frame has not been queued for the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PendingState {
    /// A feed that carries a single state.
    Feed(Feed),
    /// The trends of a host.
    Host(Host),
}

/// Frames that were dropped because the client reads too slowly.
pub(crate) struct Gap {
    pub(crate) dropped: usize,
    /// The position after which frames were dropped.
    pub(crate) position: Position,
}

/// The limits of a send queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueLimits {
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
}

impl Connection {
    pub(crate) fn new(
        sink: Sink,
        credential: Credential,
        group_key: Rc<GroupKey>,
        now: Instant,
        first_ping_in: Duration,
        memory: &ConnectionMemory,
    ) -> Self {
        Self {
            id: uuid::Uuid::now_v7(),
            sink,
            stage: Stage::Starting,
            credential,
            group_key,
            group_slot: None,
            send_queue: SendQueue::new(memory),
            input: memory.reserve(),
            stalled_since: None,
            is_blocked: false,
            is_dirty: false,
            delivered_to: EntryId::START,
            forbidden: None,
            gap: None,
            pending_states: Vec::new(),
            last_frame_at: now,
            next_ping_at: now + first_ping_in,
            pong_deadline: None,
            was_blocked: false,
            is_close_handshake_done: false,
            is_close_counted: false,
            close_deadline: None,
            task_waker: None,
            replay_waker: None,
        }
    }

    /// Returns whether the connection still accepts new frames.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.stage, Stage::Closing | Stage::Closed)
    }

    /// Returns whether to process client frames. A client that does not read the replies to its
    /// frames must not cause more replies. While the connection closes, client frames are always
    /// processed, because they cause no replies.
    pub(crate) fn accepts_input(&self) -> bool {
        !self.is_open() || !self.send_queue.has_many_replies()
    }

    /// Returns the memory that the connection holds, in bytes. Includes frames that other
    /// connections share.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.send_queue.bytes()
            + self.send_queue.entries_bytes()
            + self.input.bytes()
            + self.credential.memory_bytes()
            + self.group_key.names_bytes()
    }

    /// Returns whether the send queue has room for the next part of a replay.
    pub(crate) fn is_ready_for_replay(&self) -> bool {
        self.send_queue.bytes() <= REPLAY_LOW_WATER_BYTES
    }

    /// Returns whether the send queue has room for these frames. An empty queue accepts any amount,
    /// so that a single batch never turns a client into a slow consumer.
    pub(crate) fn has_room(&self, bytes: usize, frames: usize, limits: QueueLimits) -> bool {
        self.send_queue.is_empty()
            || (self.send_queue.bytes() + bytes <= limits.bytes
                && self.send_queue.frames() + frames <= limits.frames)
    }

    /// Adds names that the credentials do not allow, to be reported after `hello`.
    pub(super) fn add_forbidden(&mut self, names: ForbiddenNames) {
        let forbidden = self.forbidden.get_or_insert_default();
        forbidden.channels.extend(names.channels);
        forbidden.feeds.extend(names.feeds);
        forbidden.hosts.extend(names.hosts);
    }

    pub(super) fn mark_pending(&mut self, state: PendingState) {
        if !self.pending_states.contains(&state) {
            self.pending_states.push(state);
        }
    }

    /// Writes the send queue until the queue is empty or the socket would block. Marks the
    /// connection as closed if a write fails, or if the queue is empty and the close handshake is
    /// done. For a response body, writes nothing and wakes the task that polls the body.
    pub(crate) fn flush(&mut self) {
        let Sink::Socket(socket) = &self.sink else {
            if !self.send_queue.is_empty() {
                self.stalled_since.get_or_insert_with(Instant::now);
                self.send_queue.count_entries();
            }
            wake(&mut self.task_waker);
            return;
        };
        let queued = self.send_queue.bytes();
        let accepted_input = self.accepts_input();
        match write_queue(socket, &mut self.send_queue) {
            Ok(()) => {
                self.is_blocked = false;
                self.stalled_since = None;
                if self.is_close_handshake_done {
                    self.mark_closed();
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let has_progress = self.send_queue.bytes() < queued;
                self.pong_deadline = None;
                self.was_blocked = true;
                if has_progress || self.stalled_since.is_none() {
                    self.stalled_since = Some(Instant::now());
                }
                self.send_queue.count_entries();
                if !self.is_blocked {
                    self.is_blocked = true;
                    wake(&mut self.task_waker);
                }
            }
            Err(_) => self.mark_closed(),
        }
        if !accepted_input && self.accepts_input() {
            wake(&mut self.task_waker);
        }
        self.wake_replay();
    }

    /// Marks the connection as closed, discards the send queue and wakes the connection's tasks.
    /// Shuts down the HTTP connection of an event stream.
    pub(crate) fn mark_closed(&mut self) {
        self.stage = Stage::Closed;
        self.send_queue.discard(|_, offset| (offset, 0));
        if let Sink::Sse(Some(handle)) = &self.sink {
            handle.shut_down();
        }
        wake(&mut self.task_waker);
        wake(&mut self.replay_waker);
    }

    /// Removes and returns the next chunk of a response body.
    pub(crate) fn pop_chunk(&mut self) -> Option<Bytes> {
        let chunk = self.send_queue.pop(BODY_CHUNK_BYTES_MAX);
        let is_waiting = !self.send_queue.is_empty();
        self.stalled_since = is_waiting.then(Instant::now);
        self.wake_replay();
        chunk
    }

    fn wake_replay(&mut self) {
        if self.is_ready_for_replay() {
            wake(&mut self.replay_waker);
        }
    }

    pub(crate) fn register_task(&mut self, cx: &Context<'_>) {
        register_waker(&mut self.task_waker, cx);
    }

    pub(crate) fn register_replay(&mut self, cx: &Context<'_>) {
        register_waker(&mut self.replay_waker, cx);
    }
}

/// Writes until the queue is empty or the socket would block.
fn write_queue(socket: &TcpStream, queue: &mut SendQueue) -> std::io::Result<()> {
    while !queue.is_empty() {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let count = queue.fill_slices(&mut slices);
        let written = match &slices[..count] {
            [one] => socket.try_write(one),
            several => socket.try_write_vectored(several),
        }?;
        queue.advance(written);
    }
    Ok(())
}

pub(crate) fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

fn register_waker(waker: &mut Option<Waker>, cx: &Context<'_>) {
    if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
        *waker = Some(cx.waker().clone());
    }
}
