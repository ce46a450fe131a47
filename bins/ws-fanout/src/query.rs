//! What a connection asks for when it comes: the query of its address.

use mayfly_http::{Problem, parse_form};
use serde::Deserialize;

use crate::{
    subscription::{BadNames, Names, Subscription},
    websocket::{Close, CloseCode},
};

/// A query that makes sense.
#[derive(Debug)]
pub(crate) struct LiveQuery {
    pub(crate) subscription: Subscription,
    /// Where it wants to go on, as it was handed in.
    pub(crate) since: Option<String>,
}

/// The parameters as they come.
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
    /// Who calls, once keys exist; everything is open as yet.
    #[serde(rename = "token")]
    _token: Option<String>,
}

/// What is wrong with a query.
pub(crate) enum BadQuery {
    /// A parameter is unknown, double, or no text.
    Parameter(Problem),
    /// A name breaks its rule.
    Names(BadNames),
}

impl LiveQuery {
    /// Reads a query as it was sent.
    pub(crate) fn parse(query: &str) -> Result<Self, BadQuery> {
        let parameters: Parameters = parse_form(query.as_bytes()).map_err(BadQuery::Parameter)?;
        let feeds = parameters.feed.iter().flat_map(|list| list.split(','));
        let names = Names {
            channels: parameters.channel,
            feeds: feeds.map(str::to_owned).collect(),
            videos: parameters.video,
            hosts: parameters.host,
        };
        let subscription = Subscription::open(names).map_err(BadQuery::Names)?;
        Ok(Self { subscription, since: parameters.since })
    }
}

impl From<BadQuery> for Close {
    fn from(bad: BadQuery) -> Self {
        match bad {
            BadQuery::Parameter(problem) => {
                Close::with_reason(CloseCode::BadRequest, problem.sentence())
            }
            BadQuery::Names(error @ BadNames::TooMany(_)) => {
                Close::with_reason(CloseCode::TooManyChannels, error.to_string())
            }
            BadQuery::Names(error) => Close::with_reason(CloseCode::BadRequest, error.to_string()),
        }
    }
}

impl From<BadQuery> for Problem {
    fn from(bad: BadQuery) -> Self {
        let field = |field: &'static str, rule: String| {
            Problem::new(mayfly_http::Code::InvalidField).field(field.trim_end_matches('s'), rule)
        };
        match bad {
            BadQuery::Parameter(problem) => problem,
            BadQuery::Names(BadNames::Field { field: name, rule }) => field(name, rule.to_owned()),
            BadQuery::Names(BadNames::TooMany(name)) => field(
                name,
                format!("must be given at most {} times", crate::subscription::CHANNELS_MAX),
            ),
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

    /// Learns the names of the fields that are asked of it, and has none.
    struct Fields<'a>(&'a mut BTreeSet<&'static str>);

    impl<'de> Deserializer<'de> for Fields<'_> {
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
    fn the_parameters_are_those_of_the_document() {
        let document = include_str!("../../../docs/asyncapi.json");
        let document: Value = serde_json::from_str(document).expect("it is JSON");
        let described = &document["channels"]["live"]["bindings"]["ws"]["query"]["properties"];
        let described = described.as_object().expect("there are parameters").keys();
        let mut ours = BTreeSet::new();
        assert!(Parameters::deserialize(Fields(&mut ours)).is_err());
        // Taken, and of no effect as long as there are no keys.
        assert!(ours.remove("token"));
        assert_eq!(ours, described.map(String::as_str).collect());
    }

    #[test]
    fn feeds_come_as_a_list_or_one_by_one() {
        let feeds = |query: &str| {
            LiveQuery::parse(query).map(|query| query.subscription.to_names().feeds).ok()
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
    fn what_makes_no_sense_has_its_close_code() {
        let code =
            |query: &str| LiveQuery::parse(query).err().map(|bad| Close::from(bad).code.number());
        assert_eq!(code("channel=a&channel=b&since=x&token=t"), None);
        for bad in ["channel=a%20b", "chanel=a", "since=a&since=b", "feed=x", "channel=%FF"] {
            assert_eq!(code(bad), Some(4500), "{bad}");
        }
        let many: Vec<_> = (0..129).map(|number| format!("channel=c{number}")).collect();
        assert_eq!(code(&many.join("&")), Some(4501));
        let reason = LiveQuery::parse("chanel=a").err().map(|bad| Close::from(bad).reason);
        assert_eq!(reason.as_deref(), Some("chanel is unknown"));
    }
}
