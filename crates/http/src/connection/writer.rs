//! Writes responses, and disconnects a client that reads nothing for too long.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use actix_web::rt::net::TcpStream;
use tokio::{
    io::AsyncWrite,
    time::{Sleep, sleep},
};

use super::ConnectionState;
use crate::metrics as names;

/// The writing side of a connection.
#[derive(Debug)]
pub(super) struct ResponseWriter {
    timeout: Duration,
    /// A timer that expires when the client has read nothing for `timeout`. Created when a write
    /// first has to wait.
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether a write had to wait, and no later write has written all of its bytes.
    is_stalled: bool,
    /// Whether bytes have been written since the timer was started.
    has_progressed: bool,
}

impl ResponseWriter {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, timer: None, is_stalled: false, has_progressed: false }
    }

    /// Returns whether the connection is stalled.
    pub(super) fn is_stalled(&self) -> bool {
        self.is_stalled
    }

    pub(super) fn poll_write(
        &mut self,
        socket: &mut TcpStream,
        state: &ConnectionState,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(socket).poll_write(cx, bytes) {
            Poll::Ready(Ok(written)) => {
                self.has_progressed = true;
                if written == bytes.len() && self.is_stalled {
                    self.is_stalled = false;
                    state.clear_stalled();
                    state.resume_reading();
                }
                Poll::Ready(Ok(written))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.wait(state, cx, bytes.len()).map(Err),
        }
    }

    /// Marks the connection as stalled, and waits. Returns an error once the client has read
    /// nothing for `timeout`.
    fn wait(
        &mut self,
        state: &ConnectionState,
        cx: &mut Context<'_>,
        unwritten: usize,
    ) -> Poll<io::Error> {
        if !self.is_stalled || self.has_progressed {
            self.is_stalled = true;
            self.has_progressed = false;
            state.mark_stalled(Instant::now(), unwritten);
            self.start_timer();
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.timeout)));
        timer.as_mut().poll(cx).map(|()| {
            metrics::counter!(
                names::HTTP_CONNECTIONS_CLOSED_TOTAL,
                "reason" => names::CLOSED_WRITE_TIMEOUT
            )
            .increment(1);
            io::Error::new(io::ErrorKind::TimedOut, "the client is not reading the response")
        })
    }

    fn start_timer(&mut self) {
        if let Some(timer) = &mut self.timer {
            timer.as_mut().reset(tokio::time::Instant::now() + self.timeout);
        }
    }
}
