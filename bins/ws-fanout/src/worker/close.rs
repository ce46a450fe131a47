//! Closing connections: individually, as requested by the client, or all in a drain.

use std::time::{Duration, Instant};

use bytes::Bytes;
use metrics::counter;
use tracing::debug;

use super::{
    Worker,
    connection::{Connection, Stage, wake},
    drain::DrainSchedule,
};
use crate::{
    frames::Encoding,
    hub::CLOSE_TIMEOUT,
    metrics as names,
    websocket::{Close, CloseCode, encode_close},
};

/// The delay after which a client reconnects after a drain, in milliseconds.
const RETRY_AFTER_MS: std::ops::RangeInclusive<u64> = 100..=2_000;

impl Worker {
    /// Closes a connection from this side. The worker tries to send the Close frame for
    /// [`CLOSE_TIMEOUT`]. For a slow consumer, queued frames that are not partially written are
    /// discarded.
    pub(crate) fn close(&mut self, key: usize, close: &Close) {
        if !self.connections[key].is_open() {
            return;
        }
        let connection = &self.connections[key];
        debug!(
            connection.id = %connection.id,
            close.code = close.code.number(),
            close.reason = close.reason,
            "closing the connection"
        );
        self.count_close(key, &close.code.number().to_string());
        let frame = match self.connections[key].group_key.encoding {
            Encoding::WebSocket => encode_close(close),
            Encoding::Sse => encode_sse_retry(close),
        };
        self.start_close(key, frame, close.code == CloseCode::SlowConsumer);
    }

    /// Completes the close handshake that the client started, with `reply` as the Close frame.
    pub(crate) fn close_by_client(&mut self, key: usize, code: Option<u16>, reply: Bytes) {
        if !self.connections[key].is_open() {
            return;
        }
        let label = match code {
            Some(1000) => "1000",
            Some(1001) => "1001",
            None => "1005",
            Some(_) => "other",
        };
        self.count_close(key, label);
        self.connections[key].is_close_handshake_done = true;
        self.start_close(key, reply, false);
    }

    fn count_close(&mut self, key: usize, code: &str) {
        self.connections[key].is_close_counted = true;
        count_closed(code);
    }

    fn start_close(&mut self, key: usize, frame: Bytes, discard_queue: bool) {
        self.leave_group(key);
        let connection = &mut self.connections[key];
        connection.stage = Stage::Closing;
        connection.close_deadline = Some(Instant::now() + CLOSE_TIMEOUT);
        connection.gap = None;
        let dropped = if discard_queue { connection.send_queue.discard() } else { 0 };
        counter!(names::FRAMES_DROPPED_TOTAL, "reason" => "slow_consumer")
            .increment(dropped as u64);
        wake(&mut connection.replay_waker);
        wake(&mut connection.task_waker);
        if !frame.is_empty() {
            self.enqueue(key, frame, 0);
        }
    }

    /// Starts to close all connections, evenly over this duration.
    pub(super) fn start_drain(&mut self, duration: Duration) {
        self.drain = Some(DrainSchedule::start(duration, self.connections.len()));
    }

    /// Closes the connections that are due in a drain.
    pub(super) fn continue_drain(&mut self, now: Instant) {
        let Some(drain) = &self.drain else { return };
        let due = drain.count_due(now);
        let keys: Vec<_> = self.keys(Connection::is_open).take(due).collect();
        if let Some(drain) = &mut self.drain {
            drain.add_closed(keys.len());
        }
        for key in keys {
            let retry_after_ms = fastrand::u64(RETRY_AFTER_MS);
            let reason = format!("retry_after_ms={retry_after_ms}");
            self.close(key, &Close::with_reason(CloseCode::GoingAway, reason));
        }
        self.flush();
    }
}

/// Encodes the end of an event stream: the delay after which the client reconnects. SSE has no
/// message that prevents a client from reconnecting.
fn encode_sse_retry(close: &Close) -> Bytes {
    let retry = close.reason.strip_prefix("retry_after_ms=");
    retry.map_or_else(Bytes::new, |retry| Bytes::from(format!("retry: {retry}\n\n")))
}

pub(super) fn count_closed(code: &str) {
    counter!(names::CONNECTIONS_CLOSED_TOTAL, "code" => code.to_owned()).increment(1);
}
