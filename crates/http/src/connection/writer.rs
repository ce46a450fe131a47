//! Writing of responses: a client that reads nothing for too long is disconnected.

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
    /// Ends when the client has read nothing for `timeout`. Created when the client does not read
    /// for the first time.
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether the last write did not write all bytes.
    is_stalled: bool,
    /// Whether bytes were written since the timer was started.
    has_progressed: bool,
}

impl ResponseWriter {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, timer: None, is_stalled: false, has_progressed: false }
    }

    /// Returns whether the client does not read.
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

    /// Waits until the client reads. Returns an error at the timeout.
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
            io::Error::new(io::ErrorKind::TimedOut, "the client does not read the response")
        })
    }

    fn start_timer(&mut self) {
        if let Some(timer) = &mut self.timer {
            timer.as_mut().reset(tokio::time::Instant::now() + self.timeout);
        }
    }
}
