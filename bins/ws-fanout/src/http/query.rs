//! The query of a live connection.

use mayfly_http::{Code, Problem, parse_form};
use serde::Deserialize;

use crate::{
    subscription::{
        CHANNELS_MAX, Subscription, SubscriptionError, SubscriptionField, SubscriptionRequest,
    },
    websocket::{Close, CloseCode},
};

/// A valid query of `/v1/live` or `/v1/events`.
#[derive(Debug)]
pub(super) struct LiveQuery {
    pub(super) subscription: Subscription,
    /// The resume position, unparsed: a malformed position does not reject the connection.
    pub(super) since: Option<String>,
}

/// The query parameters.
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
    /// Reserved for authentication, and ignored until then.
    #[serde(rename = "token")]
    _token: Option<String>,
}

/// The reason why a query is invalid.
pub(super) enum QueryError {
    /// A parameter is unknown, repeated or not UTF-8.
    Parameter(Problem),
    /// The subscription is invalid.
    Subscription(SubscriptionError),
}

impl LiveQuery {
    /// Parses an undecoded query string.
    pub(super) fn parse(query: &str) -> Result<Self, QueryError> {
        let parameters: Parameters = parse_form(query.as_bytes()).map_err(QueryError::Parameter)?;
        let feeds = parameters.feed.iter().flat_map(|list| list.split(','));
        let request = SubscriptionRequest {
            channels: parameters.channel,
            feeds: feeds.map(str::to_owned).collect(),
            videos: parameters.video,
            hosts: parameters.host,
        };
        let subscription = Subscription::try_from(request).map_err(QueryError::Subscription)?;
        Ok(Self { subscription, since: parameters.since })
    }
}

impl From<QueryError> for Close {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Parameter(problem) => {
                Self::with_reason(CloseCode::BadRequest, problem.summary())
            }
            QueryError::Subscription(error) => {
                let code = match error {
                    SubscriptionError::TooMany(_) => CloseCode::TooManyChannels,
                    SubscriptionError::InvalidField { .. } => CloseCode::BadRequest,
                };
                Self::with_reason(code, error.to_string())
            }
        }
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
        // Reserved, and ignored until clients authenticate.
        assert!(accepted.remove("token"));
        assert_eq!(accepted, documented.map(String::as_str).collect());
    }

    #[test]
    fn feeds_are_a_list_or_repeated() {
        let feeds = |query: &str| {
            LiveQuery::parse(query).map(|query| query.subscription.to_set().feeds).ok()
        };
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
            let problem = LiveQuery::parse(query).map_err(|error| Problem::from(error).summary());
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
    fn invalid_queries_have_their_close_codes() {
        let code = |query: &str| {
            LiveQuery::parse(query).err().map(|error| Close::from(error).code.number())
        };
        assert_eq!(code("channel=a&channel=b&since=x&token=t"), None);
        for invalid in ["channel=a%20b", "chanel=a", "since=a&since=b", "feed=x", "channel=%FF"] {
            assert_eq!(code(invalid), Some(4500), "{invalid}");
        }
        assert_eq!(code(&many_distinct("channel")), Some(4501));
        let reason = LiveQuery::parse("chanel=a").err().map(|error| Close::from(error).reason);
        assert_eq!(
            reason.as_deref(),
            Some("chanel is unknown; expected one of channel, feed, video, host, since, token")
        );
    }
}
