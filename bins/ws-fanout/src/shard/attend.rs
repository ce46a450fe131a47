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

/// A ping comes up to a tenth of its interval earlier: connections that came together part.
const PING_SPREAD: f64 = 0.1;
/// Keeps a way through proxies open where there are no pings.
const COMMENT: Bytes = Bytes::from_static(b":\n\n");

impl Shard {
    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Instant) {
        let position = self.at.clone();
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
                    client.pong_until = Some(now + self.settings.pong_timeout);
                    PING
                }
                Sink::Events(_) => COMMENT,
            };
            self.push(key, bytes, 0);
        }
        self.tell_position(key, now, position);
    }

    /// Tells a connection for which nothing came where it stands, so that it can go on from there.
    fn tell_position(&mut self, key: usize, now: Instant, position: Option<&Position>) {
        let client = &self.clients[key];
        let wants = client.stage == Stage::Live
            && client.gap.is_none()
            && client.interest.subscription.has_messages()
            && now >= client.last_frame_at + self.position_interval;
        if wants && let Some(position) = position {
            self.clients[key].last_entry = position.entry;
            self.tell(key, &ServerFrame::Position { position }, Some(position));
        }
    }

    pub(super) fn next_ping(&self) -> Duration {
        self.settings.ping_interval.mul_f64(1.0 - PING_SPREAD * fastrand::f64())
    }
}
