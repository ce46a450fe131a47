//! The feeds of live clients. All services take the properties of feeds from this module.

use std::time::Duration;

/// A kind of frame that a connection can subscribe to, in alphabetical order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feed {
    /// Messages, takes and deletions.
    Messages,
    /// Play counts.
    Plays,
    /// The health of the system.
    Pulse,
    /// Trending pages of hosts.
    Rising,
    /// The statistics.
    Stats,
}

impl Feed {
    /// All feeds.
    pub const ALL: [Self; 5] =
        [Self::Messages, Self::Plays, Self::Pulse, Self::Rising, Self::Stats];

    /// The rule of a name, as a sentence that follows the field's name.
    pub const RULE: &str = "must be one of messages, plays, rising, stats or pulse";

    /// Returns the name: that of the subscription, of the metric label and of the Redis channel.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Plays => "plays",
            Self::Pulse => "pulse",
            Self::Rising => "rising",
            Self::Stats => "stats",
        }
    }

    /// Parses a name; the error is the rule that it violates.
    pub fn parse(name: &str) -> Result<Self, &'static str> {
        Self::ALL.into_iter().find(|feed| feed.as_str() == name).ok_or(Self::RULE)
    }
}

/// A feed of which only the newest value counts: one JSON object with the field `generated_at`. It
/// is stored in Redis under the name of the feed and published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StateFeed {
    /// The statistics of the last minute.
    Stats,
    /// The pulse.
    Pulse,
}

impl StateFeed {
    /// All state feeds.
    pub const ALL: [Self; 2] = [Self::Stats, Self::Pulse];

    /// Returns the feed that carries the state.
    #[must_use]
    pub const fn feed(self) -> Feed {
        match self {
            Self::Stats => Feed::Stats,
            Self::Pulse => Feed::Pulse,
        }
    }

    /// Returns the time after which a state that is not replaced is removed; `None` if it is kept.
    #[must_use]
    pub const fn ttl(self) -> Option<Duration> {
        match self {
            Self::Stats => None,
            Self::Pulse => Some(Duration::from_secs(5)),
        }
    }

    /// Appends the frame of a state, given its JSON, a non-empty object. Its members become members
    /// of the frame, except for the statistics, which are also a document of their own.
    pub fn write_frame(self, into: &mut Vec<u8>, state: &[u8]) {
        if self == Self::Stats {
            into.extend_from_slice(br#"{"type":"stats","url":"/v1/stats","snapshot":"#);
            into.extend_from_slice(state);
            into.push(b'}');
        } else {
            into.extend_from_slice(br#"{"type":""#);
            into.extend_from_slice(self.feed().as_str().as_bytes());
            into.extend_from_slice(br#"","#);
            into.extend_from_slice(state.trim_ascii_start().strip_prefix(b"{").unwrap_or(state));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feeds_are_in_alphabetical_order_and_named_by_the_rule() {
        assert!(Feed::ALL.is_sorted_by_key(|feed| feed.as_str()));
        assert!(Feed::ALL.is_sorted());
        for feed in Feed::ALL {
            assert_eq!(Feed::parse(feed.as_str()), Ok(feed));
            assert!(Feed::RULE.contains(feed.as_str()), "{feed:?}");
        }
        assert_eq!(Feed::parse("Stats"), Err(Feed::RULE));
    }

    #[test]
    fn state_frame_json_is_stable() {
        let show = |feed: StateFeed, state: &[u8]| {
            let mut frame = Vec::new();
            feed.write_frame(&mut frame, state);
            String::from_utf8(frame).expect("JSON is text")
        };
        insta::assert_snapshot!(show(StateFeed::Stats, b"{}"), @r#"{"type":"stats","url":"/v1/stats","snapshot":{}}"#);
        insta::assert_snapshot!(show(StateFeed::Pulse, br#" {"connections":3}"#), @r#"{"type":"pulse","connections":3}"#);
    }
}
