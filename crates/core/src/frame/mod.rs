//! The feeds that live clients can subscribe to, and the JSON frames that ws-fanout sends.
//!
//! New versions only add frame types and fields. Clients must ignore types and fields that they do
//! not recognize.

mod feed;

use std::io::Write as _;

use serde::Serialize;

pub use feed::{Feed, StateFeed};

use crate::{
    clock::Timestamp,
    message::MessageId,
    plays::VideoCount,
    stream::Position,
    trends::{Host, RankedPage, TrendSnapshot, Window},
};

/// The reason that a subscriber may have missed messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ResumeFailure {
    /// The position is older than the retained part of the stream.
    Window,
    /// Redis has lost data since the position was issued.
    DataLost,
    /// The position cannot be parsed.
    UnknownPosition,
}

impl ResumeFailure {
    /// Returns the name used in frames and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Window => "window",
            Self::DataLost => "data_lost",
            Self::UnknownPosition => "unknown_position",
        }
    }
}

/// A frame that the server sends. Message and state frames are not included: [`write_message`] and
/// [`StateFeed::write_frame`] wrap JSON that already exists.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame<'a> {
    /// Sent before delivery starts, and again if messages may have been missed.
    Hello {
        /// The ID of this connection.
        connection: &'a str,
        /// The position after which delivery starts or continues.
        position: &'a Position,
        /// `true` if the client resumed from its position, `false` if it may have missed messages,
        /// absent otherwise.
        #[serde(skip_serializing_if = "Option::is_none")]
        resumed: Option<bool>,
        /// The reason, if `resumed` is `false`.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<ResumeFailure>,
        /// The interval between the protocol-level pings that the server sends, in milliseconds.
        ping_interval_ms: u64,
        /// The server's time when the frame was sent.
        time: Timestamp,
        /// The time when the server closes the connection unless the client renews its credentials;
        /// `None` if the credentials do not expire.
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
    },
    /// Messages were taken or deleted.
    Expired {
        /// The new position of the subscriber.
        position: &'a Position,
        /// The IDs of the messages.
        ids: Vec<MessageId>,
    },
    /// The position advanced without a frame for this subscriber.
    Position {
        /// The new position of the subscriber.
        position: &'a Position,
    },
    /// Frames were dropped because the client read too slowly.
    Gap {
        /// The number of dropped frames.
        dropped: u64,
        /// The position before the dropped frames, from which a client can resume.
        position: &'a Position,
    },
    /// Current play counts.
    Plays {
        /// The counts; each video occurs once.
        counts: &'a [VideoCount],
    },
    /// The trending pages of a host in its newest sample.
    Rising {
        /// The host.
        host: &'a Host,
        /// The time of the sample.
        sampled_at: Timestamp,
        /// The time of the previous sample, if there is one.
        compared_to: Option<Timestamp>,
        /// The intended interval between the two samples.
        window: Window,
        /// The number of visitors to the whole host.
        visitors: u64,
        /// Whether all visitors were counted. If not, the totals are extrapolated from a sample.
        exact: bool,
        /// The pages, highest score first.
        pages: Vec<RankedPage>,
    },
    /// The subscriptions after a `subscribe` frame.
    Subscribed(SubscriptionSet),
    /// The subscriptions after an `unsubscribe` frame.
    Unsubscribed(SubscriptionSet),
    /// The response to a `ping` frame.
    Pong,
    /// The response to an `auth` frame: its credentials replace the previous ones.
    Authenticated {
        /// The time when the server closes the connection unless the client renews its credentials
        /// again; `None` if the credentials do not expire.
        expires_at: Option<Timestamp>,
    },
    /// A frame from the client was rejected and had no effect, no first frame arrived in time, the
    /// credentials do not allow some names of a subscription, or the stream ends.
    Error(ErrorFrame<'a>),
}

/// The content of an `error` frame.
#[derive(Debug, Default, Serialize)]
pub struct ErrorFrame<'a> {
    /// A stable code for programs.
    pub code: &'a str,
    /// A description for people.
    pub message: String,
    /// The type of the client frame that caused the error; `None` if the type is unknown or no
    /// client frame caused the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<&'a str>,
    /// The time in milliseconds after which the client may retry; `None` if it need not wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The names that the credentials do not allow, if the code is `forbidden`.
    #[serde(flatten)]
    pub forbidden: Option<ForbiddenNames>,
}

/// Names that a client requested, but that its credentials do not allow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ForbiddenNames {
    /// Channels.
    pub channels: Vec<String>,
    /// Feeds.
    pub feeds: Vec<&'static str>,
    /// Hosts.
    pub hosts: Vec<String>,
}

impl ForbiddenNames {
    /// Returns whether no name is forbidden.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.feeds.is_empty() && self.hosts.is_empty()
    }
}

/// The subscriptions of a connection, each list in alphabetical order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SubscriptionSet {
    /// Channels; a single `*` means all channels.
    pub channels: Vec<String>,
    /// Feeds.
    pub feeds: Vec<&'static str>,
    /// Video IDs; empty if the connection receives the counts of all videos or of none.
    pub videos: Vec<String>,
    /// Hosts.
    pub hosts: Vec<String>,
}

impl<'a> ServerFrame<'a> {
    /// Returns the frame for a trend snapshot that compares two consecutive samples.
    #[must_use]
    pub fn from_trend(snapshot: &'a TrendSnapshot) -> Self {
        let ranking = snapshot.to_ranking(Window::FiveSeconds);
        Self::Rising {
            host: &snapshot.host,
            sampled_at: ranking.sampled_at,
            compared_to: ranking.compared_to,
            window: ranking.window,
            visitors: snapshot.visitors,
            exact: snapshot.exact,
            pages: ranking.pages,
        }
    }

    /// Serializes the frame.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }
}

/// Appends the frame for a message to `into`. `json` is the JSON of the message.
pub fn write_message(into: &mut Vec<u8>, position: &Position, json: &[u8]) {
    // Writing to a Vec never fails.
    let _ = write!(into, r#"{{"type":"message","position":"{position}","message":"#);
    into.extend_from_slice(json);
    into.push(b'}');
}

fn to_json(frame: &ServerFrame<'_>) -> Vec<u8> {
    serde_json::to_vec(frame)
        .expect("invariant: a frame has only string keys, and writing to a Vec never fails")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(frame: &ServerFrame<'_>) -> String {
        String::from_utf8(frame.to_json()).expect("JSON is text")
    }

    #[test]
    fn frame_json_is_stable() {
        let at = &Position::new("e1", "5-1".parse().expect("an id"));
        let hello = |resumed, reason| ServerFrame::Hello {
            connection: "c1",
            position: at,
            resumed,
            reason,
            ping_interval_ms: 25_000,
            time: Timestamp::from_millis(1_795_201_620_123),
            expires_at: None,
        };
        insta::assert_snapshot!(show(&hello(None, None)), @r#"{"type":"hello","connection":"c1","position":"1.e1.5-1","ping_interval_ms":25000,"time":"2026-11-20T19:07:00.123Z"}"#);
        insta::assert_snapshot!(show(&hello(Some(true), None)), @r#"{"type":"hello","connection":"c1","position":"1.e1.5-1","resumed":true,"ping_interval_ms":25000,"time":"2026-11-20T19:07:00.123Z"}"#);
        insta::assert_snapshot!(show(&hello(Some(false), Some(ResumeFailure::DataLost))), @r#"{"type":"hello","connection":"c1","position":"1.e1.5-1","resumed":false,"reason":"data_lost","ping_interval_ms":25000,"time":"2026-11-20T19:07:00.123Z"}"#);
        let ids = vec!["019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47".parse().expect("an id")];
        insta::assert_snapshot!(show(&ServerFrame::Expired { position: at, ids }), @r#"{"type":"expired","position":"1.e1.5-1","ids":["019a8f3c-7b1e-7c54-9d0a-3f6e2b8c1d47"]}"#);
        insta::assert_snapshot!(show(&ServerFrame::Position { position: at }), @r#"{"type":"position","position":"1.e1.5-1"}"#);
        insta::assert_snapshot!(show(&ServerFrame::Gap { dropped: 12, position: at }), @r#"{"type":"gap","dropped":12,"position":"1.e1.5-1"}"#);
        insta::assert_snapshot!(show(&ServerFrame::Pong), @r#"{"type":"pong"}"#);
        let counts = [VideoCount { video_id: "v\"1".into(), count: 123 }];
        insta::assert_snapshot!(show(&ServerFrame::Plays { counts: &counts }), @r#"{"type":"plays","counts":[{"video_id":"v\"1","count":123}]}"#);
        let snapshot = r#"{"host":"a.org","sampled_at":"2026-11-20T19:07:05.000Z","visitors":12,"exact":true,"compared_to":"2026-11-20T19:07:00.000Z","pages":[{"path":"/","title":null,"visitors":8,"before":8,"usual":null},{"path":"/x","title":"X","visitors":4,"before":2,"usual":null},{"path":"/new","title":null,"visitors":1,"before":null,"usual":null}]}"#;
        let snapshot = serde_json::from_str(snapshot).expect("a snapshot");
        insta::assert_snapshot!(show(&ServerFrame::from_trend(&snapshot)), @r#"{"type":"rising","host":"a.org","sampled_at":"2026-11-20T19:07:05.000Z","compared_to":"2026-11-20T19:07:00.000Z","window":"5s","visitors":12,"exact":true,"pages":[{"path":"/x","title":"X","visitors":4,"change":2,"rate":1.0,"score":1.24},{"path":"/","title":null,"visitors":8,"change":0,"rate":0.0,"score":0.0},{"path":"/new","title":null,"visitors":1,"change":null,"rate":null,"score":null}]}"#);
        let set = SubscriptionSet {
            channels: vec!["*".into()],
            feeds: vec!["messages"],
            videos: vec![],
            hosts: vec![],
        };
        insta::assert_snapshot!(show(&ServerFrame::Subscribed(set)), @r#"{"type":"subscribed","channels":["*"],"feeds":["messages"],"videos":[],"hosts":[]}"#);
        let error = |error| show(&ServerFrame::Error(error));
        let invalid =
            ErrorFrame { code: "invalid_json", message: "no JSON".into(), ..ErrorFrame::default() };
        insta::assert_snapshot!(error(invalid), @r#"{"type":"error","code":"invalid_json","message":"no JSON"}"#);
        let limited = ErrorFrame {
            code: "rate_limited",
            message: "too many".into(),
            reply_to: Some("auth"),
            retry_after_ms: Some(500),
            forbidden: None,
        };
        insta::assert_snapshot!(error(limited), @r#"{"type":"error","code":"rate_limited","message":"too many","reply_to":"auth","retry_after_ms":500}"#);
        let names = ForbiddenNames { channels: vec!["a".into()], ..ForbiddenNames::default() };
        let forbidden = ErrorFrame {
            code: "forbidden",
            message: "not allowed".into(),
            reply_to: Some("connect"),
            forbidden: Some(names),
            ..ErrorFrame::default()
        };
        insta::assert_snapshot!(error(forbidden), @r#"{"type":"error","code":"forbidden","message":"not allowed","reply_to":"connect","channels":["a"],"feeds":[],"hosts":[]}"#);
        let authenticated = |expires_at| show(&ServerFrame::Authenticated { expires_at });
        insta::assert_snapshot!(authenticated(None), @r#"{"type":"authenticated","expires_at":null}"#);
        insta::assert_snapshot!(authenticated(Some(Timestamp::from_millis(1_795_201_620_123))), @r#"{"type":"authenticated","expires_at":"2026-11-20T19:07:00.123Z"}"#);
        let mut message = Vec::new();
        write_message(&mut message, at, b"{}");
        insta::assert_snapshot!(String::from_utf8_lossy(&message), @r#"{"type":"message","position":"1.e1.5-1","message":{}}"#);
    }
}
