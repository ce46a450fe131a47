//! The query of a request for a live connection.

use mayfly_http::{Code, Problem, parse_form};
use serde::Deserialize;

use super::client_frame::{ConnectRequest, Secret, Start};
use crate::{
    subscription::{CHANNELS_MAX, NewSubscription, SubscriptionError, SubscriptionField},
    websocket::{Close, CloseCode},
};

/// A valid query of a WebSocket request.
#[derive(Debug)]
pub(super) struct LiveQuery {
    /// The requested connection. If the connection starts with a frame, fields that the frame does
    /// not contain are taken from this request.
    pub(super) request: ConnectRequest,
    /// Whether the connection starts with a `connect` frame even if no credentials are needed.
    pub(super) awaits_connect: bool,
}

/// The query parameters. `connect` is valid only in a WebSocket request, and `lastEventId` and
/// `token` only in a request for an event stream.
#[derive(Deserialize)]
struct Parameters {
    #[serde(default)]
    channel: Vec<String>,
    #[serde(default)]
    feed: Vec<String>,
    #[serde(default)]
    video: Vec<String>,
    #[serde(default)]
    host: Vec<String>,
    since: Option<String>,
    connect: Option<String>,
    /// The position that some `EventSource` polyfills send because they cannot set the
    /// `Last-Event-ID` header.
    #[serde(rename = "lastEventId")]
    last_event_id: Option<String>,
    /// The credentials of an `EventSource`, which cannot send headers. The middleware reads them.
    token: Option<Secret>,
}

/// An error in a query.
#[derive(Debug)]
pub(super) enum QueryError {
    /// A parameter is unknown or invalid, or this route does not accept it.
    Parameter(Problem),
    /// The subscription is invalid.
    Subscription(SubscriptionError),
}

impl LiveQuery {
    /// Parses the percent-encoded query of a WebSocket request.
    pub(super) fn parse(query: &str) -> Result<Self, QueryError> {
        let parameters = Parameters::parse(query)?;
        if parameters.last_event_id.is_some() {
            return Err(parameter_error("lastEventId", "is only for /v1/events; use since"));
        }
        if parameters.token.is_some() {
            let rule = "is only for /v1/events; send it in the first frame or in a header";
            return Err(parameter_error("token", rule));
        }
        let awaits_connect = match parameters.connect.as_deref() {
            None => false,
            Some("frame") => true,
            Some(_) => return Err(parameter_error("connect", "must be frame")),
        };
        let request = parameters.into_request();
        if awaits_connect {
            // The `connect` frame can complete the request, so only the names are checked here.
            let names = NewSubscription::from(request.clone()).check_names();
            names.map_err(QueryError::Subscription)?;
        } else {
            Start::try_from(request.clone()).map_err(QueryError::Subscription)?;
        }
        Ok(Self { request, awaits_connect })
    }
}

/// Parses the percent-encoded query of a request for an event stream. Takes the position from
/// `Last-Event-ID`, otherwise from `lastEventId`, otherwise from `since`, because a client that
/// reconnects repeats the original `since` and adds its newest position as `Last-Event-ID` or
/// `lastEventId`.
pub(super) fn parse_events_query(
    query: &str,
    last_event_id: Option<String>,
) -> Result<Start, QueryError> {
    let mut parameters = Parameters::parse(query)?;
    if parameters.connect.is_some() {
        return Err(parameter_error("connect", "is only for /v1/live"));
    }
    // Some clients send an empty position if they have none.
    let positions = [last_event_id, parameters.last_event_id.take(), parameters.since.take()];
    parameters.since = positions.into_iter().flatten().find(|position| !position.is_empty());
    Start::try_from(parameters.into_request()).map_err(QueryError::Subscription)
}

fn parameter_error(name: &str, rule: &str) -> QueryError {
    QueryError::Parameter(Problem::new(Code::InvalidField).field(name, rule))
}

impl Parameters {
    fn parse(query: &str) -> Result<Self, QueryError> {
        parse_form(query.as_bytes()).map_err(QueryError::Parameter)
    }

    /// Converts the parameters to a request. A missing parameter becomes a missing field.
    fn into_request(self) -> ConnectRequest {
        let given = |names: Vec<String>| (!names.is_empty()).then_some(names);
        let feeds = self.feed.iter().flat_map(|list| list.split(',')).map(str::to_owned);
        ConnectRequest {
            channels: given(self.channel),
            feeds: given(feeds.collect()),
            videos: given(self.video),
            hosts: given(self.host),
            since: self.since,
            ..ConnectRequest::default()
        }
    }
}

impl From<QueryError> for Close {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Parameter(problem) => {
                Self::with_reason(CloseCode::BadRequest, problem.summary())
            }
            QueryError::Subscription(error) => error.into(),
        }
    }
}

impl From<SubscriptionError> for Close {
    fn from(error: SubscriptionError) -> Self {
        let code = match error {
            SubscriptionError::TooMany(_) => CloseCode::TooManyChannels,
            SubscriptionError::InvalidField { .. } => CloseCode::BadRequest,
        };
        Self::with_reason(code, error.to_string())
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        let invalid_parameter = |field: SubscriptionField, rule: String| {
            Self::new(Code::InvalidField).field(field.parameter(), rule)
        };
        match error {
            QueryError::Parameter(problem) => problem,
            QueryError::Subscription(SubscriptionError::InvalidField { field, rule }) => {
                invalid_parameter(field, rule.to_owned())
            }
            QueryError::Subscription(SubscriptionError::TooMany(field)) => {
                invalid_parameter(field, format!("must be given at most {CHANNELS_MAX} times"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::{
        Deserializer,
        de::{Visitor, value::Error},
        forward_to_deserialize_any,
    };
    use serde_json::Value;

    use super::*;

    /// A deserializer that records the requested field names.
    struct FieldNames<'a>(&'a mut BTreeSet<&'static str>);

    impl<'de> Deserializer<'de> for FieldNames<'_> {
        type Error = Error;

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Error> {
            self.0.extend(fields);
            self.deserialize_any(visitor)
        }

        fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.visit_unit()
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    #[test]
    fn parameters_match_the_asyncapi_document() {
        let document = include_str!("../../../../docs/asyncapi.json");
        let document: Value = serde_json::from_str(document).expect("valid JSON");
        let documented = &document["channels"]["live"]["bindings"]["ws"]["query"]["properties"];
        let documented = documented.as_object().expect("documented parameters").keys();
        let mut accepted = BTreeSet::new();
        assert!(Parameters::deserialize(FieldNames(&mut accepted)).is_err());
        // Only valid for event streams.
        assert!(accepted.remove("lastEventId") && accepted.remove("token"));
        assert_eq!(accepted, documented.map(String::as_str).collect());
    }

    fn parse(query: &str) -> Result<Start, QueryError> {
        let LiveQuery { request, awaits_connect } = LiveQuery::parse(query)?;
        assert!(!awaits_connect, "waits for a frame: {request:?}");
        Start::try_from(request).map_err(QueryError::Subscription)
    }

    #[test]
    fn missing_channels_or_an_asterisk_mean_all_channels() {
        let channels = |query: &str| {
            parse(query).map(|start| start.subscription.to_set().channels).unwrap_or_default()
        };
        assert_eq!(channels(""), ["*"]);
        assert_eq!(channels("channel=*"), ["*"]);
        assert_eq!(channels("channel=%2A&channel=a"), ["*"]);
        assert_eq!(channels("channel=b&channel=a"), ["a", "b"]);
        assert!(parse("channel=").is_err() && parse("channel=**").is_err());
    }

    #[test]
    fn connection_waits_for_a_connect_frame_on_request() {
        let query = LiveQuery::parse("connect=frame&channel=a&since=x").expect("a valid query");
        let LiveQuery { request, awaits_connect } = query;
        assert!(awaits_connect);
        assert_eq!(request.channels, Some(vec!["a".to_owned()]));
        assert_eq!((request.feeds, request.since.as_deref()), (None, Some("x")));
        for invalid in ["connect=", "connect=query", "connect=frame&connect=frame"] {
            assert!(LiveQuery::parse(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn positions_of_an_event_stream_have_an_order_of_precedence() {
        let since = |header: Option<&str>, query: &str| {
            let start = parse_events_query(query, header.map(str::to_owned));
            start.expect("a valid query").since
        };
        assert_eq!(since(None, ""), None);
        assert_eq!(since(None, "since=s").as_deref(), Some("s"));
        assert_eq!(since(None, "since=s&lastEventId=l").as_deref(), Some("l"));
        assert_eq!(since(Some("h"), "since=s&lastEventId=l").as_deref(), Some("h"));
        assert_eq!(since(Some(""), "since=s&lastEventId=").as_deref(), Some("s"));
        assert_eq!(since(Some(""), "lastEventId="), None);
    }

    #[test]
    fn parameters_of_the_other_route_are_rejected() {
        for query in ["lastEventId=x", "token=a.b.c", "connect=frame&token=a.b.c"] {
            assert!(LiveQuery::parse(query).is_err(), "{query}");
        }
        assert!(parse_events_query("connect=frame", None).is_err());
        assert!(parse_events_query("token=a.b.c", None).is_ok());
    }

    #[test]
    fn feeds_are_comma_separated_or_repeated() {
        let feeds = |query: &str| parse(query).map(|start| start.subscription.to_set().feeds).ok();
        assert_eq!(feeds(""), Some(vec!["messages"]));
        assert_eq!(
            feeds("feed=plays,stats&feed=messages"),
            Some(vec!["messages", "plays", "stats"])
        );
        assert_eq!(feeds("feed="), None);
        assert_eq!(feeds("feed=rising"), None);
        assert_eq!(feeds("feed=rising&host=example.org"), Some(vec!["rising"]));
    }

    #[test]
    fn problem_names_the_invalid_parameter() {
        for (query, parameter) in [
            ("channel=a%20b", "channel"),
            ("feed=x", "feed"),
            ("feed=rising", "host"),
            ("host=a%2Fb", "host"),
            ("video=", "video"),
            ("channels=a", "channels"),
            (&many_distinct("host"), "host"),
        ] {
            let problem = parse(query).map_err(|error| Problem::from(error).summary());
            let summary = problem.err().unwrap_or_default();
            assert_eq!(summary.split(' ').next(), Some(parameter), "{query}: {summary}");
        }
    }

    fn many_distinct(parameter: &str) -> String {
        let all: Vec<_> =
            (0..=CHANNELS_MAX).map(|number| format!("{parameter}=n{number}")).collect();
        all.join("&")
    }

    #[test]
    fn each_invalid_query_has_a_close_code() {
        let code = |query: &str| {
            LiveQuery::parse(query).err().map(|error| Close::from(error).code.number())
        };
        assert_eq!(code("channel=a&channel=b&since=x"), None);
        for invalid in
            ["token=t", "channel=a%20b", "chanel=a", "since=a&since=b", "feed=x", "channel=%FF"]
        {
            assert_eq!(code(invalid), Some(4500), "{invalid}");
        }
        assert_eq!(code(&many_distinct("channel")), Some(4501));
        let reason = LiveQuery::parse("chanel=a").err().map(|error| Close::from(error).reason);
        assert_eq!(
            reason.as_deref(),
            Some(
                "chanel is unknown; expected one of channel, feed, video, host, since, connect, \
                 lastEventId, token"
            )
        );
    }
}
