//! Feeds that carry state: the newest of each, as it is published, or as its key says where a
//! publication was lost or forbidden.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use mayfly_core::{
    Clock, SystemClock, Timestamp,
    frame::{write_pulse, write_stats},
};
use mayfly_hot::{Hot, StateFeed};
use serde::Deserialize;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::{
    batch::{Encoding, encode_json},
    hub::{Hub, News},
    subscription::Feed,
};

/// States that were heard and wait until they are looked at.
pub(crate) const HEARD_MAX: usize = 64;

/// The newest frame of a feed that carries state, encoded once for all connections.
pub(crate) struct State {
    pub(crate) feed: Feed,
    websocket: Bytes,
    events: Bytes,
}

impl State {
    fn encode(feed: StateFeed, json: &[u8]) -> Self {
        let mut frame = Vec::new();
        let feed = match feed {
            StateFeed::Stats => {
                write_stats(&mut frame, json);
                Feed::Stats
            }
            StateFeed::Pulse => {
                write_pulse(&mut frame, json);
                Feed::Pulse
            }
        };
        let encoded = |encoding| {
            let mut bytes = Vec::new();
            // States have no position: what is resumed are messages.
            encode_json(&mut bytes, encoding, None, &frame);
            bytes.into()
        };
        Self { feed, websocket: encoded(Encoding::WebSocket), events: encoded(Encoding::Events) }
    }

    /// The frame, shared.
    pub(crate) fn bytes(&self, encoding: Encoding) -> Bytes {
        match encoding {
            Encoding::WebSocket => self.websocket.clone(),
            Encoding::Events => self.events.clone(),
        }
    }
}

/// Tells the hub what is new of what was heard, until it is aborted.
pub(crate) async fn follow(hub: Arc<Hub>, mut heard: mpsc::Receiver<(StateFeed, Bytes)>) {
    let mut newest = HashMap::<StateFeed, Newest>::new();
    while let Some((feed, state)) = heard.recv().await {
        match newest.entry(feed).or_default().take(&state, SystemClock.now()) {
            Ok(None) => {}
            Ok(Some(json)) => {
                let state = State::encode(feed, json.as_bytes());
                hub.tell(News::State(Arc::new(state))).await;
            }
            Err(error) => warn!(?feed, %error, "a state cannot be read: left out"),
        }
    }
}

/// Looks what lies under the keys, as if it was heard: so a publication that was lost or forbidden
/// is made up for.
pub(crate) async fn look(hot: &Hot, hearing: &mpsc::Sender<(StateFeed, Bytes)>) {
    for feed in StateFeed::ALL {
        match hot.find_state(feed).await {
            // Where there is no room, there is enough to be told.
            Ok(Some(state)) => drop(hearing.try_send((feed, state))),
            Ok(None) => {}
            Err(error) => debug!(?feed, %error, "cannot look for a state"),
        }
    }
}

/// The newest state of a feed.
#[derive(Default)]
struct Newest {
    json: String,
    generated_at: Option<Timestamp>,
}

/// What is read of a state; all else of it is passed on as it is.
#[derive(Deserialize)]
struct Head {
    generated_at: Option<Timestamp>,
}

impl Newest {
    /// Takes a state in; gives its JSON, in one line, if it is another one and not of earlier. What
    /// a clock wrote that was wrong holds up nobody.
    fn take(&mut self, state: &[u8], now: Timestamp) -> anyhow::Result<Option<&str>> {
        let text = str::from_utf8(state)?;
        if text == self.json {
            return Ok(None);
        }
        // A list would be read as the fields of a struct, too.
        anyhow::ensure!(text.trim_ascii_start().starts_with('{'), "it is no JSON object");
        let Head { generated_at } = serde_json::from_str(text)?;
        // Outside of texts, where they cannot stand, breaks of lines are blanks.
        let json = text.replace(['\n', '\r'], " ");
        let is_believed = self.generated_at.is_none_or(|at| Hot::is_state_time_believed(at, now));
        if (is_believed && generated_at < self.generated_at) || json == self.json {
            return Ok(None);
        }
        *self = Self { json, generated_at };
        Ok(Some(&self.json))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-20T19:07:03Z.
    const NOW: Timestamp = Timestamp::from_millis(1_795_201_623_000);

    fn snapshot(second: u32, number: u32) -> String {
        format!(r#"{{"generated_at":"2026-11-20T19:07:{second:02}.000Z","cities":{number}}}"#)
    }

    #[test]
    fn what_is_known_or_of_earlier_is_no_news() {
        let mut newest = Newest::default();
        let mut is_news = |second, number| {
            newest.take(snapshot(second, number).as_bytes(), NOW).expect("it is sound").is_some()
        };
        let told = [(1, 7), (1, 7), (0, 8), (1, 8), (2, 8), (1, 7)].map(|(s, n)| is_news(s, n));
        assert_eq!(told, [true, false, false, true, true, false]);
    }

    #[test]
    fn a_snapshot_of_a_wrong_clock_gives_way_to_one_of_a_true_clock() {
        let mut newest = Newest::default();
        let ahead = r#"{"generated_at":"2026-11-20T22:07:00.000Z"}"#;
        assert!(newest.take(ahead.as_bytes(), NOW).expect("it is sound").is_some());
        assert!(newest.take(snapshot(2, 1).as_bytes(), NOW).expect("it is sound").is_some());
        assert!(newest.take(snapshot(1, 1).as_bytes(), NOW).expect("it is sound").is_none());
    }

    #[test]
    fn what_is_no_object_is_left_out() {
        let mut newest = Newest::default();
        for bad in
            ["[]", "7", "null", "{", "{}{}", r#"["2026-11-20T19:07:00.000Z"]"#, "{\"a\":\u{1}}"]
        {
            assert!(newest.take(bad.as_bytes(), NOW).is_err(), "{bad}");
        }
        assert!(newest.take(b"{\"a\":\"\xFF\"}", NOW).is_err());
        assert!(newest.take(br#"{"generated_at":"yesterday"}"#, NOW).is_err());
    }

    #[test]
    fn a_frame_is_one_line_and_has_no_position() {
        let mut newest = Newest::default();
        let json = newest.take(b"{\n  \"cities\": 1\r\n}\n", NOW).expect("it is sound");
        let state = State::encode(StateFeed::Stats, json.expect("it is new").as_bytes());
        let snapshot = r#"{   "cities": 1  } "#;
        let frame = format!(r#"{{"type":"stats","url":"/v1/stats","snapshot":{snapshot}}}"#);
        assert_eq!(state.bytes(Encoding::Events), format!("data: {frame}\n\n"));
        assert!(state.bytes(Encoding::WebSocket).ends_with(frame.as_bytes()));
        assert!(newest.take(b"{\n  \"cities\": 1\r\n}\n", NOW).expect("it is sound").is_none());
    }
}
