//! Broadcasts the newest published states of the state feeds (`stats` and `pulse`). Also reads the
//! states from their keys, to recover states whose publication was lost or dropped.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use mayfly_core::{Clock, StateFeed, Timestamp};
use mayfly_hot::{HotError, HotStore, is_plausible_time};
use mayfly_runtime::OutageLog;
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::{frames::StateFrame, hub::Hub, worker_event::WorkerEvent};

/// Capacity of the queue of received states.
pub(super) const RECEIVED_STATES_MAX: usize = 64;

/// Broadcasts received states, except duplicate, older and malformed ones. Runs until the task
/// is aborted.
pub(super) async fn follow_states(hub: Arc<Hub>, mut received: mpsc::Receiver<(StateFeed, Bytes)>) {
    let mut feeds = HashMap::new();
    while let Some((feed, state)) = received.recv().await {
        let states = feeds.entry(feed).or_insert_with(|| ReceivedStates::new(feed));
        if let Some(json) = states.update(&state, hub.hot.clock().now()) {
            let frame = StateFrame::encode(feed, json.as_bytes(), &hub.memory);
            hub.broadcast(WorkerEvent::State(Arc::new(frame))).await;
        }
    }
}

/// Reads the states from their keys and sends them to `received` as if they had been published. If
/// a read fails, continues with the other states and then returns the last error.
pub(super) async fn read_states(
    hot: &HotStore,
    received: &mpsc::Sender<(StateFeed, Bytes)>,
) -> Result<(), HotError> {
    let mut result = Ok(());
    for feed in StateFeed::ALL {
        match hot.snapshots().find_state(feed).await {
            // If the queue is full, the state is dropped, and a later call sends it.
            Ok(Some(state)) => drop(received.try_send((feed, state))),
            Ok(None) => {}
            Err(error) => result = Err(error),
        }
    }
    result
}

/// The received states of a feed. Each feed has its own log of malformed states, because a valid
/// state of one feed does not end an outage of another.
struct ReceivedStates {
    newest: NewestState,
    malformed: OutageLog,
}

impl ReceivedStates {
    fn new(feed: StateFeed) -> Self {
        let task = match feed {
            StateFeed::Stats => "decode published states of stats (malformed ones are skipped)",
            StateFeed::Pulse => "decode published states of pulse (malformed ones are skipped)",
        };
        Self { newest: NewestState::default(), malformed: OutageLog::new(task) }
    }

    /// Stores a state and returns its JSON if the state is new. Skips and logs a malformed state.
    fn update(&mut self, state: &[u8], now: Timestamp) -> Option<&str> {
        let updated = self.newest.update(state, now);
        self.malformed.record(&updated);
        updated.ok().flatten()
    }
}

/// The newest state of a feed.
#[derive(Default)]
struct NewestState {
    json: String,
    generated_at: Option<Timestamp>,
}

/// The only part of a state that the process uses. The state is forwarded as received, except that
/// line breaks become spaces.
#[derive(Deserialize)]
struct StateHeader {
    generated_at: Option<Timestamp>,
}

impl NewestState {
    /// Stores a state and returns its JSON as a single line. Returns `None` if the state is a
    /// duplicate or older than the stored state. A stored state with a timestamp too far in the
    /// future is replaced by any other state, so that a wrong clock cannot block the feed.
    fn update(&mut self, state: &[u8], now: Timestamp) -> anyhow::Result<Option<&str>> {
        let text = str::from_utf8(state)?;
        if text == self.json {
            return Ok(None);
        }
        // serde also accepts a JSON array for a struct.
        anyhow::ensure!(text.trim_ascii_start().starts_with('{'), "the state is not a JSON object");
        let StateHeader { generated_at } = serde_json::from_str(text)?;
        // JSON strings cannot contain raw line breaks, so every line break is whitespace.
        let json = text.replace(['\n', '\r'], " ");
        let is_plausible = self.generated_at.is_none_or(|at| is_plausible_time(at, now));
        if (is_plausible && generated_at < self.generated_at) || json == self.json {
            return Ok(None);
        }
        *self = Self { json, generated_at };
        Ok(Some(&self.json))
    }
}

#[cfg(test)]
#[path = "../../../../crates/hot/src/connection/test_log.rs"]
mod test_log;

#[cfg(test)]
mod tests {
    use tracing::subscriber;

    use super::{test_log::LogLines, *};
    use crate::{frames::Encoding, hub::ConnectionMemory};

    #[test]
    fn valid_states_of_one_feed_do_not_end_an_outage_of_another() {
        let lines = LogLines::default();
        subscriber::with_default(lines.clone(), || {
            let [mut stats, mut pulse] = StateFeed::ALL.map(ReceivedStates::new);
            for second in 1..4 {
                assert_eq!(stats.update(b"[]", NOW), None);
                assert!(pulse.update(snapshot(second, 1).as_bytes(), NOW).is_some());
            }
            assert!(stats.update(snapshot(1, 1).as_bytes(), NOW).is_some());
        });
        // The outage begins and ends once.
        assert_eq!(lines.count(), 2);
    }

    /// 2026-11-20T19:07:03Z.
    const NOW: Timestamp = Timestamp::from_millis(1_795_201_623_000);

    fn snapshot(second: u32, number: u32) -> String {
        format!(r#"{{"generated_at":"2026-11-20T19:07:{second:02}.000Z","cities":{number}}}"#)
    }

    #[test]
    fn duplicate_and_older_states_are_ignored() {
        let mut newest = NewestState::default();
        let mut is_new = |second, number| {
            newest
                .update(snapshot(second, number).as_bytes(), NOW)
                .expect("a valid state")
                .is_some()
        };
        let results = [(1, 7), (1, 7), (0, 8), (1, 8), (2, 8), (1, 7)].map(|(s, n)| is_new(s, n));
        assert_eq!(results, [true, false, false, true, true, false]);
    }

    #[test]
    fn state_with_an_implausible_timestamp_is_replaced() {
        let mut newest = NewestState::default();
        let ahead = r#"{"generated_at":"2026-11-20T22:07:00.000Z"}"#;
        assert!(newest.update(ahead.as_bytes(), NOW).expect("a valid state").is_some());
        assert!(newest.update(snapshot(2, 1).as_bytes(), NOW).expect("a valid state").is_some());
        assert!(newest.update(snapshot(1, 1).as_bytes(), NOW).expect("a valid state").is_none());
    }

    #[test]
    fn states_that_are_not_objects_are_rejected() {
        let mut newest = NewestState::default();
        for invalid in
            ["[]", "7", "null", "{", "{}{}", r#"["2026-11-20T19:07:00.000Z"]"#, "{\"a\":\u{1}}"]
        {
            assert!(newest.update(invalid.as_bytes(), NOW).is_err(), "{invalid}");
        }
        assert!(newest.update(b"{\"a\":\"\xFF\"}", NOW).is_err());
        assert!(newest.update(br#"{"generated_at":"yesterday"}"#, NOW).is_err());
    }

    #[test]
    fn frame_is_one_line_without_a_position() {
        let mut newest = NewestState::default();
        let json = newest.update(b"{\n  \"cities\": 1\r\n}\n", NOW).expect("a valid state");
        let json = json.expect("a new state").as_bytes();
        let state = StateFrame::encode(StateFeed::Stats, json, &ConnectionMemory::new(0));
        let snapshot = r#"{   "cities": 1  } "#;
        let frame = format!(r#"{{"type":"stats","url":"/v1/stats","snapshot":{snapshot}}}"#);
        assert_eq!(state.bytes(Encoding::Sse), format!("data: {frame}\n\n"));
        assert!(state.bytes(Encoding::WebSocket).ends_with(frame.as_bytes()));
        assert!(newest.update(b"{\n  \"cities\": 1\r\n}\n", NOW).expect("a valid state").is_none());
    }
}
