//! Ending connections: one by one, as the other side wants it, or all in a drain.

use std::time::{Duration, Instant};

use bytes::Bytes;
use mayfly_runtime::metrics as names;
use metrics::counter;
use tracing::debug;

use super::Shard;
use crate::{
    batch::Encoding,
    client::{Client, Stage, wake},
    websocket::{Close, CloseCode, encode_close},
};

/// How long a connection may take to read its Close.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// The shortest and the longest that a client waits after a drain until it comes back, in
/// milliseconds.
const RETRY_AFTER_MS: std::ops::RangeInclusive<u64> = 100..=2_000;

/// Closing all connections one after the other.
pub(super) struct Drain {
    began_at: Instant,
    over: Duration,
    connections: usize,
    closed: usize,
}

impl Shard {
    /// Ends a connection from this side. The Close is tried for [`CLOSE_TIMEOUT`]; where the other
    /// side is slow, what waits before it and is not begun is let go of.
    pub(crate) fn close(&mut self, key: usize, close: &Close) {
        if !self.clients[key].is_open() {
            return;
        }
        let client = &self.clients[key];
        debug!(
            connection.id = %client.id,
            close.code = close.code.number(),
            close.reason = close.reason,
            "closing"
        );
        self.count_end(key, &close.code.number().to_string());
        let frame = match self.clients[key].interest.encoding {
            Encoding::WebSocket => encode_close(close),
            Encoding::Events => end_of_events(close),
        };
        self.begin_close(key, frame, close.code == CloseCode::SlowConsumer);
    }

    /// Ends a connection as the other side wants it, with this frame as the answer.
    pub(crate) fn follow_close(&mut self, key: usize, code: Option<u16>, answer: Bytes) {
        if !self.clients[key].is_open() {
            return;
        }
        let label = match code {
            Some(1000) => "1000",
            Some(1001) => "1001",
            None => "1005",
            Some(_) => "other",
        };
        self.count_end(key, label);
        self.clients[key].has_parted = true;
        self.begin_close(key, answer, false);
    }

    fn count_end(&mut self, key: usize, code: &str) {
        self.clients[key].is_counted = true;
        count_closed(code);
    }

    fn begin_close(&mut self, key: usize, frame: Bytes, discards: bool) {
        self.leave_group(key);
        let client = &mut self.clients[key];
        client.stage = Stage::Closing;
        client.close_until = Some(Instant::now() + CLOSE_TIMEOUT);
        client.gap = None;
        let dropped = if discards { client.outbound.discard() } else { 0 };
        counter!(names::DROPPED_TOTAL, "reason" => "slow_consumer").increment(dropped as u64);
        wake(&mut client.drained);
        wake(&mut client.task);
        if !frame.is_empty() {
            self.push(key, frame, 0);
        }
    }

    /// Begins to close all connections, evenly over this time.
    pub(crate) fn begin_drain(&mut self, over: Duration) {
        let connections = self.clients.len();
        self.drain = Some(Drain { began_at: Instant::now(), over, connections, closed: 0 });
    }

    /// Closes as many connections as are due in a drain.
    pub(crate) fn close_drained(&mut self, now: Instant) {
        let Some(drain) = &mut self.drain else { return };
        let elapsed = now - drain.began_at;
        let is_last = elapsed >= drain.over;
        let due = if is_last {
            usize::MAX
        } else {
            scale(drain.connections, elapsed, drain.over).saturating_sub(drain.closed)
        };
        let keys: Vec<_> = self.keys(Client::is_open).take(due).collect();
        if let Some(drain) = &mut self.drain {
            drain.closed += keys.len();
        }
        for key in keys {
            let retry_after_ms = fastrand::u64(RETRY_AFTER_MS);
            let reason = format!("retry_after_ms={retry_after_ms}");
            self.close(key, &Close::with_reason(CloseCode::GoingAway, reason));
        }
        self.flush();
    }
}

/// The last words of server-sent events: when to come back. Who must not come back cannot be told.
fn end_of_events(close: &Close) -> Bytes {
    let retry = close.reason.strip_prefix("retry_after_ms=");
    retry.map_or_else(Bytes::new, |retry| Bytes::from(format!("retry: {retry}\n\n")))
}

/// The part of `whole` that falls on `elapsed` of `over`.
fn scale(whole: usize, elapsed: Duration, over: Duration) -> usize {
    let part = whole as u128 * elapsed.as_nanos() / over.as_nanos().max(1);
    usize::try_from(part).unwrap_or(whole).min(whole)
}

pub(super) fn count_closed(code: &str) {
    counter!(names::CLOSED_TOTAL, "code" => code.to_owned()).increment(1);
}
