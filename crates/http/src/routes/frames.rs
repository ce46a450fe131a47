//! The frames that clients of the live feeds send, and the feeds: the access that each requires.

use mayfly_auth::Scope::Subscribe;
use mayfly_core::Feed;

use super::{RouteAccess, Subject};

/// A frame that clients send.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// The value of the field `type`.
    pub kind: &'static str,
    /// The required access.
    pub access: RouteAccess,
}

/// The access that a subscription to a feed requires in addition to the access to the connection.
#[derive(Debug, Clone, Copy)]
pub struct FeedAccess {
    /// The feed.
    pub feed: Feed,
    /// The lists of patterns of a key that restrict the feed.
    pub patterns: &'static [&'static str],
    /// The members of the claim `mayfly` that grant the right, only together.
    pub claims: &'static [&'static str],
}

const SUBSCRIBED: RouteAccess = RouteAccess::Scope(Subscribe, Subject::Feeds);

/// Starts a connection.
pub const CONNECT: Frame = Frame { kind: "connect", access: SUBSCRIBED };
/// Starts a connection, or renews its credentials.
pub const AUTH: Frame = Frame { kind: "auth", access: SUBSCRIBED };
/// Adds names to the subscription.
pub const SUBSCRIBE: Frame = Frame { kind: "subscribe", access: SUBSCRIBED };
/// Removes names from the subscription.
pub const UNSUBSCRIBE: Frame = Frame { kind: "unsubscribe", access: RouteAccess::Public };
/// Requests a `pong`.
pub const PING: Frame = Frame { kind: "ping", access: RouteAccess::Public };

/// The frames that clients send.
pub const FRAMES: [Frame; 5] = [CONNECT, AUTH, SUBSCRIBE, UNSUBSCRIBE, PING];

/// The access to each feed.
pub const FEEDS: [FeedAccess; Feed::ALL.len()] = [
    feed(Feed::Messages, &["channels", "usernames"], &["subscribe"]),
    feed(Feed::Plays, &[], &["feeds"]),
    feed(Feed::Pulse, &[], &["feeds"]),
    feed(Feed::Rising, &["hosts"], &["feeds", "hosts"]),
    feed(Feed::Stats, &[], &["feeds"]),
];

const fn feed(
    feed: Feed,
    patterns: &'static [&'static str],
    claims: &'static [&'static str],
) -> FeedAccess {
    FeedAccess { feed, patterns, claims }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mayfly_auth::{Access, Identity, Key, KeyLimits, Names, Scope, Scopes, Token, TokenRights};
    use mayfly_core::Username;
    use serde_json::{Value, json};

    use super::*;

    const CHANNEL: &str = "a";
    const HOST: &str = "a.org";

    /// Returns whether a caller receives a feed: its messages of a channel, or its pages of a host.
    fn receives(identity: &Identity, feed: Feed) -> bool {
        let names = match feed {
            Feed::Messages => identity.allows(&Access::Subscribe { channel: CHANNEL }),
            Feed::Rising => identity.allows(&Access::SubscribeHost { host: HOST }),
            Feed::Plays | Feed::Pulse | Feed::Stats => true,
        };
        names && identity.allows(&Access::SubscribeFeed { feed })
    }

    fn token(claims: &[&str], feed: Feed) -> Identity {
        let value = |claim: &str| match claim {
            "subscribe" => json!([CHANNEL]),
            "feeds" => json!([feed.as_str()]),
            "hosts" => json!([HOST]),
            other => panic!("no value for {other}"),
        };
        let claim: Value = claims.iter().map(|claim| ((*claim).to_owned(), value(claim))).collect();
        let rights: TokenRights = serde_json::from_value(claim).expect("valid rights");
        let subject = Username::parse("fred").expect("a username");
        let token = Token { subject, id: None, issued_at: None, expires_at: i64::MAX, rights };
        Identity::Token(Arc::new(token))
    }

    /// Creates a key whose list of patterns of this kind matches nothing.
    fn key(scope: Scope, restricted: &str) -> Identity {
        let names = |kind| if kind == restricted { Names::none() } else { Names::All };
        Identity::Key(Arc::new(Key {
            id: uuid::Uuid::nil(),
            scopes: Scopes::from_iter([scope]),
            channels: names("channels"),
            usernames: names("usernames"),
            hosts: names("hosts"),
            limits: KeyLimits::default(),
            expires_at: None,
            is_revoked: false,
        }))
    }

    #[test]
    fn every_feed_has_one_row() {
        assert_eq!(FEEDS.map(|row| row.feed), Feed::ALL);
    }

    #[test]
    fn claims_of_a_row_grant_the_feed_only_together() {
        for row in FEEDS {
            assert!(receives(&token(row.claims, row.feed), row.feed), "{row:?}");
            for missing in 0..row.claims.len() {
                let mut claims = row.claims.to_vec();
                claims.remove(missing);
                assert!(!receives(&token(&claims, row.feed), row.feed), "{row:?}: {claims:?}");
            }
        }
    }

    #[test]
    fn patterns_of_a_row_restrict_the_feed() {
        for row in FEEDS {
            assert!(receives(&key(Subscribe, ""), row.feed), "{row:?}");
            for kind in ["channels", "usernames", "hosts"] {
                let is_restricted = !receives(&key(Subscribe, kind), row.feed);
                assert_eq!(is_restricted, row.patterns.contains(&kind), "{row:?}: {kind}");
            }
            for scope in Scope::ALL {
                let is_granted = matches!(scope, Subscribe | Scope::Operate);
                assert_eq!(receives(&key(scope, ""), row.feed), is_granted, "{row:?}: {scope:?}");
            }
        }
    }

    /// The right to any feed includes the right to the connection.
    #[test]
    fn frame_is_admitted_with_the_right_to_any_feed() {
        for frame in FRAMES {
            let anonymous = Identity::Anonymous(Scopes::EMPTY);
            let is_public = frame.access == RouteAccess::Public;
            assert_eq!(frame.access.admits(&anonymous), is_public, "{frame:?}");
            for row in FEEDS {
                let identity = token(row.claims, row.feed);
                assert!(frame.access.admits(&identity), "{frame:?}: {row:?}");
                assert!(identity.allows(&Access::Connect), "{row:?}");
            }
        }
    }
}
