//! The feeds that live clients can subscribe to. Only this module defines the names and properties
//! of feeds.

use std::time::Duration;

/// A kind of event that a connection can subscribe to. The variants are in alphabetical order.
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

    /// The rule for a name, worded to follow the field's name.
    pub const RULE: &str = "must be one of messages, plays, rising, stats or pulse";

    /// Returns the name used in subscriptions, metric labels and Redis channels.
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

    /// Parses a name. The error is the violated rule.
    pub fn parse(name: &str) -> Result<Self, &'static str> {
        Self::ALL.into_iter().find(|feed| feed.as_str() == name).ok_or(Self::RULE)
    }
}

/// A feed of states, in which each state replaces the previous one. A state is a JSON object with
/// the field `generated_at`. stats-publisher stores the latest state in Redis and publishes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StateFeed {
    /// The statistics snapshot.
    Stats,
    /// The health of the system.
    Pulse,
}

impl StateFeed {
    /// All state feeds.
    pub const ALL: [Self; 2] = [Self::Stats, Self::Pulse];

    /// Returns the corresponding [`Feed`].
    #[must_use]
    pub const fn feed(self) -> Feed {
        match self {
            Self::Stats => Feed::Stats,
            Self::Pulse => Feed::Pulse,
        }
    }

    /// Returns the time to live of a state in Redis; `None` if the state does not expire.
    #[must_use]
    pub const fn ttl(self) -> Option<Duration> {
        match self {
            Self::Stats => None,
            Self::Pulse => Some(Duration::from_secs(5)),
        }
    }

    /// Appends the frame for a state to `into`. `state` is the JSON of a non-empty object. In a
    /// `stats` frame, the object is the member `snapshot`. In other frames, the members of the
    /// object become members of the frame.
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
