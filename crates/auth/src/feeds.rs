//! Sets of feeds.

use mayfly_core::Feed;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A set of feeds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Feeds(u8);

impl Feeds {
    /// No feeds.
    pub const EMPTY: Self = Self(0);

    /// Returns whether the set contains a feed.
    #[must_use]
    pub const fn contains(self, feed: Feed) -> bool {
        self.0 & bit(feed) != 0
    }

    /// Iterates over the feeds.
    pub fn iter(self) -> impl Iterator<Item = Feed> {
        Feed::ALL.into_iter().filter(move |feed| self.contains(*feed))
    }

    /// Returns whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

const fn bit(feed: Feed) -> u8 {
    match feed {
        Feed::Messages => 1,
        Feed::Plays => 1 << 1,
        Feed::Pulse => 1 << 2,
        Feed::Rising => 1 << 3,
        Feed::Stats => 1 << 4,
    }
}

impl FromIterator<Feed> for Feeds {
    fn from_iter<I: IntoIterator<Item = Feed>>(feeds: I) -> Self {
        Self(feeds.into_iter().fold(0, |bits, feed| bits | bit(feed)))
    }
}

/// Serialized as a list of names.
impl Serialize for Feeds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Feed::as_str))
    }
}

impl<'de> Deserialize<'de> for Feeds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        names
            .iter()
            .map(|name| Feed::parse(name))
            .collect::<Result<_, _>>()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_contains_exactly_the_given_feeds() {
        for one in Feed::ALL {
            let feeds = Feeds::from_iter([one]);
            assert_eq!(feeds.iter().collect::<Vec<_>>(), [one]);
            assert!(!Feeds::EMPTY.contains(one) && !feeds.is_empty());
        }
        assert_eq!(Feeds::from_iter(Feed::ALL).iter().collect::<Vec<_>>(), Feed::ALL);
    }

    #[test]
    fn json_is_a_list_of_names() {
        let feeds = Feeds::from_iter([Feed::Stats, Feed::Plays]);
        let json = serde_json::to_string(&feeds).expect("it serializes");
        assert_eq!(json, r#"["plays","stats"]"#);
        assert_eq!(serde_json::from_str::<Feeds>(&json).expect("it parses"), feeds);
        assert!(serde_json::from_str::<Feeds>(r#"["all"]"#).is_err());
    }
}
