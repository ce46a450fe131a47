//! The frames of the live side: what a server tells, as JSON texts, made once for all who get them.
//!
//! Frames only grow: a client ignores types and fields that it does not know.

use std::io::Write as _;

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    host::Host,
    message_id::MessageId,
    position::Position,
    rising::{RisingPage, Sighting, Window},
};

/// Why a subscriber could not go on where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NotResumed {
    /// What it has missed is older than what is kept.
    Window,
    /// Redis lost what came before.
    DataLost,
    /// It is no position that was ever given out.
    UnknownPosition,
}

impl NotResumed {
    /// The word in frames and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Window => "window",
            Self::DataLost => "data_lost",
            Self::UnknownPosition => "unknown_position",
        }
    }
}

/// Everything that a server says beside messages, statistics and the pulse, whose JSON is there
/// already: they are written by [`write_message`], [`write_stats`] and [`write_pulse`].
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame<'a> {
    /// Live delivery begins behind `position`.
    Hello {
        /// The name of this connection.
        connection: &'a str,
        /// Where live delivery begins.
        position: &'a Position,
        /// Whether it went on where it was; only where a position was handed in.
        #[serde(skip_serializing_if = "Option::is_none")]
        resumed: Option<bool>,
        /// Why it did not.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<NotResumed>,
        /// How often the server pings, in milliseconds.
        ping_interval_ms: u64,
        /// What time it is for the server: `expires_at` is to be compared with this, not with the
        /// clock of the client.
        time: Timestamp,
    },
    /// Messages were taken or deleted.
    Expired {
        /// Where the subscriber stands from now on.
        position: &'a Position,
        /// Which.
        ids: Vec<MessageId>,
    },
    /// Nothing came for this subscriber; this is where it stands.
    Position {
        /// Where the subscriber stands from now on.
        position: &'a Position,
    },
    /// Frames were dropped, because this connection did not read.
    Gap {
        /// How many.
        dropped: u64,
        /// The last frame before them: handed back, it brings them.
        position: &'a Position,
    },
    /// The newest counts of videos that were played.
    Plays {
        /// Each video once.
        counts: &'a [VideoCount],
    },
    /// What rises on a host, as it was sampled last.
    Rising {
        /// Whose pages.
        host: &'a Host,
        /// When their visitors were counted.
        sampled_at: Timestamp,
        /// When the sample before was taken, if there was one.
        compared_to: Option<Timestamp>,
        /// How much earlier that is to be.
        window: Window,
        /// Visitors of the host, of all its pages.
        visitors: u64,
        /// Whether every visitor was counted, and not one in some.
        exact: bool,
        /// The pages, those that rise first.
        pages: Vec<RisingPage>,
    },
    /// What is subscribed after a `subscribe`.
    Subscribed(SubscribedTo),
    /// What is subscribed after an `unsubscribe`.
    Unsubscribed(SubscribedTo),
    /// The answer to a `ping`.
    Pong,
    /// A frame of the client cannot be followed; nothing was changed by it.
    Error {
        /// What is wrong, in a word that programs may rely on.
        code: &'a str,
        /// What is wrong, for people.
        message: String,
    },
}

/// How often a video was played.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VideoCount {
    /// The video.
    pub video_id: String,
    /// Its plays.
    pub count: u64,
}

/// Everything that a connection is subscribed to, in alphabetical order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SubscribedTo {
    /// Names of channels; `*` alone stands for all.
    pub channels: Vec<String>,
    /// Names of feeds.
    pub feeds: Vec<&'static str>,
    /// Ids of videos.
    pub videos: Vec<String>,
    /// Names of hosts.
    pub hosts: Vec<String>,
}

impl<'a> ServerFrame<'a> {
    /// What rises by a sighting, compared to the sample before.
    #[must_use]
    pub fn rising(sighting: &'a Sighting) -> Self {
        let rising = sighting.to_rising(Window::FiveSeconds);
        Self::Rising {
            host: &sighting.host,
            sampled_at: rising.sampled_at,
            compared_to: rising.compared_to,
            window: rising.window,
            visitors: sighting.visitors,
            exact: sighting.exact,
            pages: rising.pages,
        }
    }

    /// The frame as JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }
}

/// Writes the frame of a message, whose JSON is there already.
pub fn write_message(into: &mut Vec<u8>, position: &Position, json: &[u8]) {
    // Writing into a Vec cannot fail.
    let _ = write!(into, r#"{{"type":"message","position":"{position}","message":"#);
    into.extend_from_slice(json);
    into.push(b'}');
}

/// Writes the frame of the statistics, whose JSON is there already.
pub fn write_stats(into: &mut Vec<u8>, snapshot: &[u8]) {
    into.extend_from_slice(br#"{"type":"stats","url":"/v1/stats","snapshot":"#);
    into.extend_from_slice(snapshot);
    into.push(b'}');
}

/// Writes the frame of the pulse, whose JSON, an object with fields, is there already.
pub fn write_pulse(into: &mut Vec<u8>, pulse: &[u8]) {
    into.extend_from_slice(br#"{"type":"pulse","#);
    into.extend_from_slice(pulse.trim_ascii_start().strip_prefix(b"{").unwrap_or(pulse));
}

fn to_json(frame: &ServerFrame<'_>) -> Vec<u8> {
    serde_json::to_vec(frame)
        .expect("invariant: a frame has only string keys, and a Vec takes every byte")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(frame: &ServerFrame<'_>) -> String {
        String::from_utf8(frame.to_json()).expect("JSON is text")
    }

    #[test]
    fn frames_are_what_clients_rely_on() {
        let at = &Position::new("e1", "5-1".parse().expect("an id"));
        let hello = |resumed, reason| ServerFrame::Hello {
            connection: "c1",
            position: at,
            resumed,
            reason,
            ping_interval_ms: 25_000,
            time: Timestamp::from_millis(1_795_201_620_123),
        };
        insta::assert_snapshot!(show(&hello(None, None)), @r#"{"type":"hello","connection":"c1","position":"1.e1.5-1","ping_interval_ms":25000,"time":"2026-11-20T19:07:00.123Z"}"#);
        insta::assert_snapshot!(show(&hello(Some(true), None)), @r#"{"type":"hello","connection":"c1","position":"1.e1.5-1","resumed":true,"ping_interval_ms":25000,"time":"2026-11-20T19:07:00.123Z"}"#);
        insta::assert_snapshot!(show(&hello(Some(false), Some(NotResumed::DataLost))), @r#"{"type":"hello","connection":"c1","position":"1.e1.5-1","resumed":false,"reason":"data_lost","ping_interval_ms":25000,"time":"2026-11-20T19:07:00.123Z"}"#);
        let ids = vec!["019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47".parse().expect("an id")];
        insta::assert_snapshot!(show(&ServerFrame::Expired { position: at, ids }), @r#"{"type":"expired","position":"1.e1.5-1","ids":["019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47"]}"#);
        insta::assert_snapshot!(show(&ServerFrame::Position { position: at }), @r#"{"type":"position","position":"1.e1.5-1"}"#);
        insta::assert_snapshot!(show(&ServerFrame::Gap { dropped: 12, position: at }), @r#"{"type":"gap","dropped":12,"position":"1.e1.5-1"}"#);
        insta::assert_snapshot!(show(&ServerFrame::Pong), @r#"{"type":"pong"}"#);
        let counts = [VideoCount { video_id: "v\"1".into(), count: 123 }];
        insta::assert_snapshot!(show(&ServerFrame::Plays { counts: &counts }), @r#"{"type":"plays","counts":[{"video_id":"v\"1","count":123}]}"#);
        let sighting = r#"{"host":"a.org","sampled_at":"2026-11-20T19:07:05.000Z","visitors":12,"exact":true,"compared_to":"2026-11-20T19:07:00.000Z","pages":[{"path":"/","title":null,"visitors":8,"before":8,"usual":null},{"path":"/x","title":"X","visitors":4,"before":2,"usual":null},{"path":"/new","title":null,"visitors":1,"before":null,"usual":null}]}"#;
        let sighting = serde_json::from_str(sighting).expect("a sighting");
        insta::assert_snapshot!(show(&ServerFrame::rising(&sighting)), @r#"{"type":"rising","host":"a.org","sampled_at":"2026-11-20T19:07:05.000Z","compared_to":"2026-11-20T19:07:00.000Z","window":"5s","visitors":12,"exact":true,"pages":[{"path":"/x","title":"X","visitors":4,"change":2,"rate":1.0,"score":1.24},{"path":"/","title":null,"visitors":8,"change":0,"rate":0.0,"score":0.0},{"path":"/new","title":null,"visitors":1,"change":null,"rate":null,"score":null}]}"#);
        let set = SubscribedTo {
            channels: vec!["*".into()],
            feeds: vec!["messages"],
            videos: vec![],
            hosts: vec![],
        };
        insta::assert_snapshot!(show(&ServerFrame::Subscribed(set)), @r#"{"type":"subscribed","channels":["*"],"feeds":["messages"],"videos":[],"hosts":[]}"#);
        let error = ServerFrame::Error { code: "invalid_json", message: "no JSON".into() };
        insta::assert_snapshot!(show(&error), @r#"{"type":"error","code":"invalid_json","message":"no JSON"}"#);
        let mut message = Vec::new();
        write_message(&mut message, at, b"{}");
        insta::assert_snapshot!(String::from_utf8_lossy(&message), @r#"{"type":"message","position":"1.e1.5-1","message":{}}"#);
        let mut stats = Vec::new();
        write_stats(&mut stats, b"{}");
        insta::assert_snapshot!(String::from_utf8_lossy(&stats), @r#"{"type":"stats","url":"/v1/stats","snapshot":{}}"#);
        let mut pulse = Vec::new();
        write_pulse(&mut pulse, br#" {"connections":3}"#);
        insta::assert_snapshot!(String::from_utf8_lossy(&pulse), @r#"{"type":"pulse","connections":3}"#);
    }
}
