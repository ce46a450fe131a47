//! Periodic work: pings, position frames, deadlines and the expiry of credentials.

use std::time::{Duration, Instant};

use bytes::Bytes;
use mayfly_core::{Clock, Position, Timestamp, frame::ServerFrame};
use metrics::counter;

use super::{
    Worker,
    connection::{Connection, Sink, Stage},
};
use crate::{
    metrics as names,
    websocket::{CloseCode, PING},
};

/// How early a ping is sent, as a fraction of the ping interval. The pong deadline is then within
/// the ping interval plus the pong timeout even if a tick is late.
const PING_EARLY: f64 = 0.03;
/// Maximum additional random fraction, so that the pings of connections that were opened together
/// are spread out.
const PING_JITTER: f64 = 0.1;
/// Maximum expected pause between two ticks. A longer pause means that this process has stalled,
/// not its clients.
const STALL_THRESHOLD: Duration = Duration::from_secs(1);
/// An SSE comment, which keeps the connection open through proxies.
const SSE_COMMENT: Bytes = Bytes::from_static(b":\n\n");

impl Worker {
    /// Runs all timers that are due.
    pub(crate) fn tick(&mut self, now: Instant) {
        let position = self.position.clone();
        // After a stall, the socket buffers may still contain unread pongs, so the deadlines are
        // extended by the part of the pause that exceeds the threshold.
        let stalled = now.saturating_duration_since(self.last_tick_at);
        let stalled = stalled.saturating_sub(STALL_THRESHOLD);
        self.last_tick_at = now;
        if !stalled.is_zero() {
            for (_, connection) in &mut self.connections {
                connection.pong_deadline = connection.pong_deadline.map(|at| at + stalled);
                connection.stalled_since = connection.stalled_since.map(|at| at + stalled);
            }
        }
        let time = self.clock.now();
        let due: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, connection)| self.is_due(connection, now, time))
            .map(|(key, _)| key)
            .collect();
        for key in due {
            self.run_timers(key, now, time, position.as_ref());
        }
        self.continue_drain(now);
        self.flush();
        self.end_closing_largest();
    }

    fn is_due(&self, connection: &Connection, now: Instant, time: Timestamp) -> bool {
        now >= connection.next_ping_at
            || connection.credential.has_ended(time)
            || connection.pong_deadline.is_some_and(|at| now >= at)
            || connection.close_deadline.is_some_and(|at| now >= at)
            || self.is_write_overdue(connection, now)
            || now >= connection.last_frame_at + self.position_interval
    }

    /// Returns whether the client has read nothing for the ping interval plus the pong timeout
    /// while frames were waiting. Pongs do not count as reading.
    fn is_write_overdue(&self, connection: &Connection, now: Instant) -> bool {
        let timeout = self.settings.ping_interval + self.settings.pong_timeout;
        connection.stalled_since.is_some_and(|at| now >= at + timeout)
    }

    fn run_timers(
        &mut self,
        key: usize,
        now: Instant,
        time: Timestamp,
        position: Option<&Position>,
    ) {
        let next_ping = self.next_ping_delay();
        let connection = &mut self.connections[key];
        if connection.close_deadline.is_some_and(|at| now >= at) {
            if !connection.send_queue.is_empty() {
                counter!(names::CLOSE_TIMEOUTS_TOTAL).increment(1);
            }
            connection.mark_closed();
            return;
        }
        if !connection.is_open() {
            return;
        }
        if connection.credential.has_ended(time) {
            let code = connection.credential.end_code();
            self.close_unauthorized(key, &code.into());
            return;
        }
        let is_pong_overdue = connection.pong_deadline.is_some_and(|at| now >= at);
        if is_pong_overdue || self.is_write_overdue(&self.connections[key], now) {
            self.close(key, &CloseCode::NoPong.into());
            return;
        }
        let connection = &mut self.connections[key];
        if now >= connection.next_ping_at {
            connection.next_ping_at = now + next_ping;
            let bytes = match connection.sink {
                Sink::Socket(_) => {
                    // Another ping does not extend the deadline for an outstanding pong.
                    if !connection.is_blocked && !connection.was_blocked {
                        connection.pong_deadline.get_or_insert(now + self.settings.pong_timeout);
                    }
                    connection.was_blocked = connection.is_blocked;
                    PING
                }
                Sink::Sse(_) => SSE_COMMENT,
            };
            self.enqueue(key, bytes, 0);
        }
        if now >= self.connections[key].last_frame_at + self.position_interval {
            self.connections[key].last_frame_at = now;
            if let Some(position) = position {
                self.send_position(key, position);
            }
        }
    }

    /// Sends a position frame if the connection is live and no `gap` frame is pending. The frame
    /// keeps the client's position within the resume window.
    pub(super) fn send_position(&mut self, key: usize, position: &Position) {
        let connection = &self.connections[key];
        if connection.stage == Stage::Live && connection.gap.is_none() {
            self.connections[key].delivered_to = position.entry;
            self.send_frame(key, &ServerFrame::Position { position }, Some(position));
        }
    }

    pub(super) fn next_ping_delay(&self) -> Duration {
        self.settings.ping_interval.mul_f64(1.0 - PING_EARLY - PING_JITTER * fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mayfly_auth::{Identity, LEEWAY_S, Token, TokenRights};
    use mayfly_core::Username;

    use super::*;
    use crate::{frames::Encoding, hub::Hub};

    #[tokio::test]
    async fn connection_is_closed_when_its_token_is_no_longer_accepted() {
        let hub = Hub::for_tests(&[]);
        let mut worker = Worker::new(hub.register().0, &hub);
        let now_s = worker.clock.now().as_millis() / 1_000;
        let [ended, open] = [-LEEWAY_S, 0].map(|seconds| {
            let key = worker.register(Sink::Sse(None), Encoding::Sse, None);
            let identity = Identity::Token(Arc::new(Token {
                subject: Username::parse("fred").expect("a valid username"),
                id: None,
                issued_at: None,
                expires_at: now_s + seconds,
                rights: TokenRights::default(),
            }));
            worker.accept(key, identity, None, None);
            worker.connections[key].stage = Stage::Live;
            worker.send_retry(key, 1_000);
            key
        });
        worker.tick(Instant::now());
        let is_open = [ended, open].map(|key| worker.connections[key].is_open());
        assert_eq!(is_open, [false, true]);
        let last = worker.pop_chunk(ended).expect("only the last event is left");
        assert!(String::from_utf8_lossy(&last).contains("token_expired"), "{last:?}");
    }
}
