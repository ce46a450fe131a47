//! What time brings: pings, positions, and deadlines.

use std::time::{Duration, Instant};

use bytes::Bytes;
use mayfly_core::{Position, frame::ServerFrame};
use mayfly_runtime::metrics as names;
use metrics::counter;

use super::Shard;
use crate::{
    client::{Client, Sink, Stage},
    websocket::{CloseCode, PING},
};

/// A ping comes this part of its interval early, so that its answer is due within interval and
/// timeout together, however late a tick is.
const PING_EARLY: f64 = 0.03;
/// And up to this part earlier still: connections that came together part.
const PING_SPREAD: f64 = 0.1;
/// A tick later than this after the one before is a stall of this process, not of its clients.
const TICK_LATE: Duration = Duration::from_secs(1);
/// Keeps a way through proxies open where there are no pings.
const COMMENT: Bytes = Bytes::from_static(b":\n\n");

impl Shard {
    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Instant) {
        let position = self.at.clone();
        // After a stall, pongs may lie in sockets that nobody has read.
        let stalled = now.saturating_duration_since(self.ticked_at).saturating_sub(TICK_LATE);
        self.ticked_at = now;
        if !stalled.is_zero() {
            for (_, client) in &mut self.clients {
                client.pong_until = client.pong_until.map(|until| until + stalled);
            }
        }
        let due: Vec<_> = self
            .clients
            .iter()
            .filter(|(_, client)| self.is_due(client, now))
            .map(|(key, _)| key)
            .collect();
        for key in due {
            self.attend(key, now, position.as_ref());
        }
        self.close_drained(now);
        self.flush();
    }

    fn is_due(&self, client: &Client, now: Instant) -> bool {
        now >= client.ping_at
            || client.pong_until.is_some_and(|until| now >= until)
            || client.close_until.is_some_and(|until| now >= until)
            || now >= client.last_frame_at + self.position_interval
    }

    fn attend(&mut self, key: usize, now: Instant, position: Option<&Position>) {
        let next_ping = self.next_ping();
        let client = &mut self.clients[key];
        if client.close_until.is_some_and(|until| now >= until) {
            // Told and silent, or it could not even be told.
            if !client.outbound.is_empty() {
                counter!(names::DROPPED_TOTAL, "reason" => "close_timeout").increment(1);
            }
            client.set_over();
            return;
        }
        if !client.is_open() {
            return;
        }
        if client.pong_until.is_some_and(|until| now >= until) {
            self.close(key, &CloseCode::NoPong.into());
            return;
        }
        if now >= client.ping_at {
            client.ping_at = now + next_ping;
            let bytes = match client.sink {
                Sink::Socket(_) => {
                    // A ping more is no more time for the pong to the one before.
                    client.pong_until.get_or_insert(now + self.settings.pong_timeout);
                    PING
                }
                Sink::Events(_) => COMMENT,
            };
            self.push(key, bytes, 0);
        }
        if now >= self.clients[key].last_frame_at + self.position_interval {
            self.clients[key].last_frame_at = now;
            if let Some(position) = position {
                self.tell_position(key, position);
            }
        }
    }

    /// Tells a connection for which nothing came where it stands, so that it can go on from there.
    pub(super) fn tell_position(&mut self, key: usize, position: &Position) {
        let client = &self.clients[key];
        if client.stage == Stage::Live && client.gap.is_none() {
            self.clients[key].served_to = position.entry;
            self.tell(key, &ServerFrame::Position { position }, Some(position));
        }
    }

    pub(super) fn next_ping(&self) -> Duration {
        self.settings.ping_interval.mul_f64(1.0 - PING_EARLY - PING_SPREAD * fastrand::f64())
    }
}
