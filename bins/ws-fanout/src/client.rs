//! One connection, as its thread keeps it.

use std::{
    io::{ErrorKind, IoSlice},
    rc::Rc,
    task::{Context, Waker},
    time::{Duration, Instant},
};

use actix_web::rt::net::TcpStream;
use bytes::Bytes;
use mayfly_core::{EntryId, Host, Position};
use mayfly_http::Hangup;

use crate::{
    groups::{Interest, Place},
    outbound::{Outbound, SLICES_MAX},
    subscription::Feed,
};

/// Where the bytes of a connection go.
pub(crate) enum Sink {
    /// A socket that speaks WebSocket.
    Socket(Rc<TcpStream>),
    /// An answer that is asked for its next piece, and a way to end it where it is not.
    Events(Option<Hangup>),
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It has not been told where live delivery begins.
    Starting,
    /// It gets what it missed.
    Replaying,
    /// It gets what comes.
    Live,
    /// It has been told, or has told, that this is the end.
    Closing,
    /// Its socket can go.
    Over,
}

/// One connection.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says something of its own, and there are thousands of these"
)]
pub(crate) struct Client {
    /// Its name.
    pub(crate) id: uuid::Uuid,
    pub(crate) sink: Sink,
    pub(crate) stage: Stage,
    pub(crate) interest: Rc<Interest>,
    /// Where it stands in the groups, while it is live.
    pub(crate) place: Option<Place>,
    pub(crate) outbound: Outbound,
    /// Whether the socket takes nothing at the moment.
    pub(crate) is_blocked: bool,
    /// Whether it stands in the list of those to be written to.
    pub(crate) is_dirty: bool,
    /// Everything up to this entry that it wants has been put into its queue.
    pub(crate) served_to: EntryId,
    /// Frames that were dropped since its queue became full.
    pub(crate) gap: Option<Box<Gap>>,
    /// Of what it is to see the newest as soon as there is room.
    pub(crate) owed: Vec<Owed>,
    /// When the last frame with a position was put into its queue.
    pub(crate) last_frame_at: Instant,
    /// When it is to be pinged next.
    pub(crate) ping_at: Instant,
    /// When a pong must have come, if one is waited for.
    pub(crate) pong_until: Option<Instant>,
    /// Whether both sides have said that it ends: when that is written, it is over.
    pub(crate) has_parted: bool,
    /// Whether its end is counted.
    pub(crate) is_counted: bool,
    /// When it is dropped if it does not read its Close.
    pub(crate) close_until: Option<Instant>,
    /// Its task, which reads and waits for room.
    pub(crate) task: Option<Waker>,
    /// What waits until its queue is nearly empty.
    pub(crate) drained: Option<Waker>,
}

/// What only the newest counts of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owed {
    /// A feed that carries one state.
    Feed(Feed),
    /// What rises on a host.
    Host(Host),
}

/// What a connection missed because it did not read.
pub(crate) struct Gap {
    pub(crate) dropped: usize,
    /// Its last frame before.
    pub(crate) position: Position,
}

/// A queue with no more than this is nearly empty: time to fetch more of a replay.
const NEARLY_EMPTY_BYTES: usize = 64 * 1024;

impl Client {
    pub(crate) fn new(sink: Sink, interest: Rc<Interest>, now: Instant, ping_in: Duration) -> Self {
        Self {
            id: uuid::Uuid::now_v7(),
            sink,
            stage: Stage::Starting,
            interest,
            place: None,
            outbound: Outbound::default(),
            is_blocked: false,
            is_dirty: false,
            served_to: EntryId::START,
            gap: None,
            owed: Vec::new(),
            last_frame_at: now,
            ping_at: now + ping_in,
            pong_until: None,
            has_parted: false,
            is_counted: false,
            close_until: None,
            task: None,
            drained: None,
        }
    }

    /// Whether it still gets anything.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.stage, Stage::Closing | Stage::Over)
    }

    /// Whether its queue is so far emptied that more of a replay is welcome.
    pub(crate) fn is_nearly_drained(&self) -> bool {
        self.outbound.bytes() <= NEARLY_EMPTY_BYTES
    }

    /// Whether its queue takes so much more, with these bounds. An empty queue takes anything that
    /// comes at once: a single batch makes nobody slow.
    pub(crate) fn has_room(&self, bytes: usize, frames: usize, bounds: Bounds) -> bool {
        self.outbound.is_empty()
            || (self.outbound.bytes() + bytes <= bounds.bytes
                && self.outbound.frames() + frames <= bounds.frames)
    }

    /// Writes what waits, as far as it goes.
    pub(crate) fn flush(&mut self) {
        let Sink::Socket(socket) = &self.sink else {
            wake(&mut self.task);
            return;
        };
        let waited = self.outbound.bytes();
        match write_out(socket, &mut self.outbound) {
            Ok(()) => {
                self.is_blocked = false;
                if self.has_parted {
                    self.set_over();
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // Who takes what was waiting is alive, even if a ping lies far behind it.
                if self.is_blocked && self.outbound.bytes() < waited {
                    self.pong_until = None;
                }
                if !self.is_blocked {
                    self.is_blocked = true;
                    wake(&mut self.task);
                }
            }
            Err(_) => self.set_over(),
        }
        self.wake_replay();
    }

    /// Its socket can go.
    pub(crate) fn set_over(&mut self) {
        self.stage = Stage::Over;
        if let Sink::Events(Some(hangup)) = &self.sink {
            hangup.hang_up();
        }
        wake(&mut self.task);
        wake(&mut self.drained);
    }

    /// Takes the next piece of an answer.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let piece = self.outbound.pop();
        self.wake_replay();
        piece
    }

    fn wake_replay(&mut self) {
        if self.is_nearly_drained() {
            wake(&mut self.drained);
        }
    }

    /// Remembers who to wake.
    pub(crate) fn remember_task(&mut self, context: &Context<'_>) {
        remember(&mut self.task, context);
    }
}

/// How much may wait for one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
}

/// Writes as much as the socket takes.
fn write_out(socket: &TcpStream, outbound: &mut Outbound) -> std::io::Result<()> {
    while !outbound.is_empty() {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let count = outbound.slices(&mut slices);
        let written = match &slices[..count] {
            [one] => socket.try_write(one),
            several => socket.try_write_vectored(several),
        }?;
        outbound.advance(written);
    }
    Ok(())
}

pub(crate) fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

pub(crate) fn remember(waker: &mut Option<Waker>, context: &Context<'_>) {
    if !waker.as_ref().is_some_and(|known| known.will_wake(context.waker())) {
        *waker = Some(context.waker().clone());
    }
}
