//! Frames from clients.

use std::fmt;

use mayfly_core::frame::{ErrorFrame, ForbiddenNames};
use mayfly_http::routes::frames;
use serde::{Deserialize, Deserializer};

use crate::subscription::{
    NAME_OVERHEAD_BYTES, NewSubscription, Subscription, SubscriptionError, SubscriptionRequest,
    describe_forbidden,
};

/// A frame from a client.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum ClientFrame {
    Connect(ConnectRequest),
    Auth(AuthRequest),
    Subscribe(SubscriptionRequest),
    Unsubscribe(SubscriptionRequest),
    Ping {},
}

/// New credentials for a connection, or the credentials that start it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuthRequest {
    pub(super) token: Secret,
}

/// A token or a key in a frame.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(super) struct Secret(String);

/// A request for a new connection, from the query or from the first frame. A field that is missing
/// from both takes its default. An empty list means none, except that an empty list of videos means
/// all videos.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ConnectRequest {
    // `null` is rejected instead of being replaced with the default, because the client may have
    // lost its list.
    #[serde(deserialize_with = "deserialize_list")]
    pub(super) channels: Option<Vec<String>>,
    #[serde(deserialize_with = "deserialize_list")]
    pub(super) feeds: Option<Vec<String>>,
    #[serde(deserialize_with = "deserialize_list")]
    pub(super) videos: Option<Vec<String>>,
    #[serde(deserialize_with = "deserialize_list")]
    pub(super) hosts: Option<Vec<String>>,
    /// The unparsed resume position. A malformed position does not cause the request to be
    /// rejected.
    pub(super) since: Option<String>,
    /// The credentials, only in a frame.
    pub(super) token: Option<Secret>,
}

/// A valid request for a new connection.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) subscription: Subscription,
    pub(super) since: Option<String>,
}

/// The reason for rejecting a client frame, as reported in an `error` frame.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct FrameError {
    pub(super) code: &'static str,
    pub(super) message: String,
    /// The type of the rejected frame; `None` if it is unknown.
    pub(super) reply_to: Option<&'static str>,
    pub(super) retry_after_ms: Option<u64>,
    /// The names that the credentials do not allow.
    pub(super) forbidden: Option<Box<ForbiddenNames>>,
}

impl ClientFrame {
    pub(super) fn parse(text: &str) -> Result<Self, FrameError> {
        serde_json::from_str(text).map_err(|error| {
            let code = if error.is_data() { "invalid_field" } else { "invalid_json" };
            FrameError::new(code, error.to_string())
        })
    }

    /// Returns the type of the frame.
    pub(super) const fn kind(&self) -> &'static str {
        self.row().kind
    }

    /// Returns the row of the frame in the table of frames.
    const fn row(&self) -> frames::Frame {
        match self {
            Self::Connect(_) => frames::CONNECT,
            Self::Auth(_) => frames::AUTH,
            Self::Subscribe(_) => frames::SUBSCRIBE,
            Self::Unsubscribe(_) => frames::UNSUBSCRIBE,
            Self::Ping {} => frames::PING,
        }
    }
}

impl Secret {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

impl FrameError {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), ..Self::default() }
    }

    /// Creates the error for names that the credentials do not allow.
    pub(super) fn forbidden(names: ForbiddenNames) -> Self {
        let message = describe_forbidden(&names);
        Self { forbidden: Some(Box::new(names)), ..Self::new("forbidden", message) }
    }

    /// Sets the type of the rejected frame.
    pub(super) fn reply_to(self, kind: &'static str) -> Self {
        Self { reply_to: Some(kind), ..self }
    }

    /// Converts the error to the content of an `error` frame.
    pub(super) fn into_frame(self) -> ErrorFrame<'static> {
        ErrorFrame {
            code: self.code,
            message: self.message,
            reply_to: self.reply_to,
            retry_after_ms: self.retry_after_ms,
            forbidden: self.forbidden.map(|names| *names),
        }
    }
}

impl ConnectRequest {
    /// Replaces missing fields with the fields of `query`.
    pub(super) fn or(self, query: Self) -> Self {
        Self {
            channels: self.channels.or(query.channels),
            feeds: self.feeds.or(query.feeds),
            videos: self.videos.or(query.videos),
            hosts: self.hosts.or(query.hosts),
            since: self.since.or(query.since),
            token: self.token,
        }
    }

    /// Returns the approximate memory that the names and the position occupy, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        let lists = [&self.channels, &self.feeds, &self.videos, &self.hosts];
        let texts = lists.into_iter().flatten().flatten().chain(&self.since);
        texts.map(|text| text.len() + NAME_OVERHEAD_BYTES).sum()
    }
}

impl From<ConnectRequest> for NewSubscription {
    fn from(request: ConnectRequest) -> Self {
        Self {
            channels: request.channels,
            feeds: request.feeds,
            videos: request.videos.unwrap_or_default(),
            hosts: request.hosts.unwrap_or_default(),
        }
    }
}

impl TryFrom<ConnectRequest> for Start {
    type Error = SubscriptionError;

    fn try_from(request: ConnectRequest) -> Result<Self, SubscriptionError> {
        let since = request.since.clone();
        Ok(Self { subscription: Subscription::try_from(NewSubscription::from(request))?, since })
    }
}

impl From<SubscriptionError> for FrameError {
    fn from(error: SubscriptionError) -> Self {
        let code = match error {
            SubscriptionError::InvalidField { .. } => "invalid_field",
            SubscriptionError::TooMany(_) => "too_many_channels",
        };
        Self::new(code, error.to_string())
    }
}

fn deserialize_list<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<String>>, D::Error> {
    Vec::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(fields: &str) -> Result<Start, FrameError> {
        let frame = ClientFrame::parse(&format!(r#"{{"type":"connect"{fields}}}"#))?;
        let ClientFrame::Connect(request) = frame else { panic!("not a connect frame: {frame:?}") };
        Ok(Start::try_from(request)?)
    }

    fn channels(fields: &str) -> Vec<String> {
        connect(fields).expect("a valid frame").subscription.to_set().channels
    }

    #[test]
    fn missing_connect_fields_take_the_query_defaults() {
        let start = connect("").expect("a valid frame");
        assert_eq!(start.subscription.to_set().channels, ["*"]);
        assert_eq!(start.subscription.to_set().feeds, ["messages"]);
        assert_eq!(start.since, None);
        let start = connect(r#","since":"x","token":"t""#).expect("a valid frame");
        assert_eq!(start.since.as_deref(), Some("x"));
        assert!(connect(r#","since":null,"token":null"#).is_ok());
    }

    #[test]
    fn empty_list_of_channels_means_none_and_asterisk_means_all() {
        assert_eq!(channels(r#","channels":[]"#), [""; 0]);
        assert_eq!(channels(r#","channels":["*"]"#), ["*"]);
        assert_eq!(channels(r#","channels":["b","a"]"#), ["a", "b"]);
        let feeds = connect(r#","feeds":[]"#).expect("a valid frame").subscription.to_set().feeds;
        assert_eq!(feeds, [""; 0]);
    }

    #[test]
    fn invalid_connect_is_rejected() {
        for invalid in [
            r#","channel":["a"]"#,
            r#","channels":null"#,
            r#","channels":"a""#,
            r#","channels":["a b"]"#,
            r#","feeds":["rising"]"#,
            r#","since":7"#,
        ] {
            let error = connect(invalid).expect_err(invalid);
            assert_eq!(error.code, "invalid_field", "{invalid}");
        }
        let many: Vec<_> = (0..129).map(|number| format!("c{number}")).collect();
        let many = format!(r#","channels":{}"#, serde_json::json!(many));
        assert_eq!(connect(&many).expect_err("too many").code, "too_many_channels");
        let error = ClientFrame::parse("{").expect_err("invalid JSON");
        assert_eq!(error.code, "invalid_json");
    }

    #[test]
    fn token_is_a_string_and_not_shown() {
        let frame = ClientFrame::parse(r#"{"type":"auth","token":"mf_secret"}"#);
        let frame = frame.expect("a valid frame");
        assert!(!format!("{frame:?}").contains("mf_secret"));
        let ClientFrame::Auth(AuthRequest { token }) = frame else { panic!("not auth: {frame:?}") };
        assert_eq!(token.expose(), "mf_secret");
        for invalid in [
            r#"{"type":"auth"}"#,
            r#"{"type":"auth","token":null}"#,
            r#"{"type":"auth","token":7}"#,
            r#"{"type":"auth","token":"t","channels":[]}"#,
        ] {
            let error = ClientFrame::parse(invalid).expect_err(invalid);
            assert_eq!((error.code, error.reply_to), ("invalid_field", None), "{invalid}");
        }
    }

    #[test]
    fn frames_are_the_rows_of_the_table() {
        for row in frames::FRAMES {
            let token = if row.kind == "auth" { r#","token":"t""# } else { "" };
            let frame = ClientFrame::parse(&format!(r#"{{"type":"{}"{token}}}"#, row.kind));
            assert_eq!(frame.expect("a valid frame").kind(), row.kind);
        }
    }

    #[test]
    fn frame_fields_override_query_fields() {
        let list = |name: &str| Some(vec![name.to_owned()]);
        let query =
            ConnectRequest { channels: list("a"), feeds: list("plays"), ..Default::default() };
        let frame = ConnectRequest { channels: Some(Vec::new()), ..Default::default() };
        let both = frame.or(query);
        assert_eq!((both.channels, both.feeds), (Some(Vec::new()), list("plays")));
    }
}
