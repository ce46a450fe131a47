//! The rights of an identity, compiled into a subscription when the subscription or the identity
//! changes, so that no right is checked per message.

use std::rc::Rc;

use mayfly_auth::{Access, Identity};
use mayfly_core::{Channel, Feed, Host, frame::ForbiddenNames};

use super::{
    Channels, Subscription, SubscriptionField,
    channel_filters::{ChannelFilter, ChannelFilters},
};

/// The rights of a subscription to channels.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum ChannelRights {
    /// No channels.
    None,
    /// The channels that the subscription names, because each of them has been checked.
    /// Subscriptions with equal names are equal, whatever patterns allow them.
    Named,
    /// The channels that match a filter, because the subscription names none.
    Matching(Rc<ChannelFilter>),
    /// All channels.
    All,
}

impl ChannelRights {
    /// Returns whether a subscription that names no channels includes this channel.
    pub(super) fn include(&self, channel: &str) -> bool {
        match self {
            Self::None | Self::Named => false,
            Self::Matching(filter) => filter.includes(channel),
            Self::All => true,
        }
    }

    /// Returns the number of the filter, if any.
    pub(super) fn filter_number(&self) -> Option<u64> {
        match self {
            Self::Matching(filter) => Some(filter.number()),
            Self::None | Self::Named | Self::All => None,
        }
    }
}

impl Subscription {
    /// Returns the names that `before` does not contain and that the identity has no right to.
    pub(crate) fn find_forbidden(&self, identity: &Identity, before: &Self) -> ForbiddenNames {
        let known = match &before.channels {
            Channels::Some(known) => Some(known),
            Channels::Default | Channels::All => None,
        };
        let is_new = |name: &&Channel| known.is_none_or(|known| !known.contains(*name));
        let channels = self.channels.names().filter(is_new);
        let channels = channels.filter(|name| !may_read(identity, name));
        let feeds = self.feeds.difference(&before.feeds);
        let hosts = self.hosts.difference(&before.hosts);
        ForbiddenNames {
            channels: channels.map(|name| name.as_str().to_owned()).collect(),
            feeds: feeds
                .filter(|feed| !may_follow(identity, **feed))
                .map(|feed| feed.as_str())
                .collect(),
            hosts: hosts
                .filter(|host| !may_watch(identity, host))
                .map(|host| host.as_str().to_owned())
                .collect(),
        }
    }

    /// Restricts the subscription to the rights of an identity. Removes the names that the identity
    /// has no right to, and returns them. Without a host, the feed `rising` is removed too.
    pub(crate) fn restrict(
        &mut self,
        identity: &Identity,
        filters: &ChannelFilters,
    ) -> ForbiddenNames {
        let mut forbidden = self.find_forbidden(identity, &Self::none());
        if let Channels::Some(channels) = &mut self.channels {
            channels.retain(|name| may_read(identity, name));
        }
        self.feeds.retain(|feed| may_follow(identity, *feed));
        self.hosts.retain(|host| may_watch(identity, host));
        if self.hosts.is_empty() && self.feeds.remove(&Feed::Rising) {
            forbidden.feeds.push(Feed::Rising.as_str());
        }
        self.compile(identity, filters);
        forbidden
    }

    /// Compiles the rights of an identity into the subscription, whose names have been checked.
    pub(crate) fn compile(&mut self, identity: &Identity, filters: &ChannelFilters) {
        let allowed = identity.subscribable_channels();
        self.rights = if allowed.is_all() {
            ChannelRights::All
        } else if !self.channels.is_all() {
            ChannelRights::Named
        } else if allowed.is_none() {
            ChannelRights::None
        } else {
            ChannelRights::Matching(filters.find_or_create(&allowed))
        };
    }
}

fn may_read(identity: &Identity, channel: &Channel) -> bool {
    identity.allows(&Access::Subscribe { channel: channel.as_str() })
}

fn may_follow(identity: &Identity, feed: Feed) -> bool {
    identity.allows(&Access::SubscribeFeed { feed })
}

fn may_watch(identity: &Identity, host: &Host) -> bool {
    identity.allows(&Access::SubscribeHost { host: host.as_str() })
}

/// Returns a description of forbidden names for people.
pub(crate) fn describe_forbidden(names: &ForbiddenNames) -> String {
    let field = first_forbidden(names).map_or("names", SubscriptionField::name);
    format!("{field} must contain only names that the credentials allow")
}

/// Returns the first field with forbidden names, if any.
pub(crate) fn first_forbidden(names: &ForbiddenNames) -> Option<SubscriptionField> {
    [
        (SubscriptionField::Channels, names.channels.is_empty()),
        (SubscriptionField::Feeds, names.feeds.is_empty()),
        (SubscriptionField::Hosts, names.hosts.is_empty()),
    ]
    .into_iter()
    .find_map(|(field, is_empty)| (!is_empty).then_some(field))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mayfly_auth::{Names, Scope, Scopes, Token, TokenRights};
    use mayfly_core::Username;

    use super::*;
    use crate::subscription::{NewSubscription, SubscriptionRequest};

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn patterns(patterns: &[&str]) -> Names {
        Names::parse(patterns.iter().copied()).expect("valid patterns")
    }

    /// Returns the identity of a token for these channels, feeds and hosts.
    fn token(subscribe: &[&str], feeds: &[Feed], hosts: &[&str]) -> Identity {
        let rights = TokenRights {
            subscribe: patterns(subscribe),
            feeds: feeds.iter().copied().collect(),
            hosts: patterns(hosts),
            ..TokenRights::default()
        };
        let subject = Username::parse("fred").expect("a valid username");
        Identity::Token(Arc::new(Token {
            subject,
            id: None,
            issued_at: None,
            expires_at: i64::from(u32::MAX),
            rights,
        }))
    }

    fn subscription(names: NewSubscription) -> Subscription {
        Subscription::try_from(names).expect("valid names")
    }

    fn to_channels(channels: &[&str]) -> Subscription {
        subscription(NewSubscription { channels: Some(list(channels)), ..Default::default() })
    }

    #[test]
    fn subscription_receives_nothing_until_it_is_restricted() {
        let mut all = subscription(NewSubscription::default());
        assert!(!all.has_channel(Some("a")) && !all.has_channel(None));
        assert!(all.restrict(&Identity::Open, &ChannelFilters::default()).is_empty());
        assert!(all.has_channel(Some("a")) && all.has_channel(None) && all.has_every_channel());
    }

    #[test]
    fn all_channels_means_all_that_the_identity_may_read() {
        let filters = ChannelFilters::default();
        for names in [
            NewSubscription::default(),
            NewSubscription { channels: Some(list(&["*"])), ..Default::default() },
        ] {
            let mut all = subscription(names);
            assert!(all.restrict(&token(&["chat.*"], &[], &[]), &filters).is_empty());
            assert!(all.has_channel(Some("chat.a")) && !all.has_channel(Some("lobby")));
            assert!(!all.has_channel(None) && !all.has_every_channel());
            assert_eq!(all.to_set().channels, ["*"]);
        }
        let mut all = subscription(NewSubscription::default());
        let forbidden = all.restrict(&token(&[], &[Feed::Plays], &[]), &filters);
        assert_eq!(forbidden.feeds, ["messages"]);
        assert!(!all.has_channel(Some("chat.a")) && all.filter_number().is_none());
    }

    #[test]
    fn names_without_the_right_are_removed() {
        let filters = ChannelFilters::default();
        let mut subscription = subscription(NewSubscription {
            channels: Some(list(&["chat.a", "lobby"])),
            feeds: Some(list(&["messages", "plays", "pulse", "rising"])),
            videos: Vec::new(),
            hosts: list(&["a.org", "b.org"]),
        });
        let identity = token(&["chat.*"], &[Feed::Plays, Feed::Rising], &["a.org"]);
        let forbidden = subscription.restrict(&identity, &filters);
        assert_eq!(forbidden.channels, ["lobby"]);
        assert_eq!(forbidden.feeds, ["pulse"]);
        assert_eq!(forbidden.hosts, ["b.org"]);
        assert_eq!(first_forbidden(&forbidden), Some(SubscriptionField::Channels));
        let set = subscription.to_set();
        assert_eq!((set.channels, set.hosts), (list(&["chat.a"]), list(&["a.org"])));
        assert_eq!(set.feeds, ["messages", "plays", "rising"]);
        // Without a host, the feed cannot be kept.
        let forbidden = subscription.restrict(&token(&["*"], &[Feed::Rising], &[]), &filters);
        assert_eq!((forbidden.feeds, forbidden.hosts), (vec!["plays", "rising"], list(&["a.org"])));
        assert_eq!(subscription.to_set().feeds, ["messages"]);
    }

    #[test]
    fn only_new_names_are_checked() {
        let before = to_channels(&["lobby"]);
        let after = to_channels(&["chat.a", "lobby", "news"]);
        let forbidden = after.find_forbidden(&token(&["chat.*"], &[], &[]), &before);
        assert_eq!(forbidden.channels, ["news"]);
    }

    #[test]
    fn subscriptions_to_named_channels_are_equal_for_different_patterns() {
        let filters = ChannelFilters::default();
        let restricted = |patterns: &[&str]| {
            let mut one = to_channels(&["chat.a"]);
            one.restrict(&token(patterns, &[], &[]), &filters);
            one
        };
        assert_eq!(restricted(&["chat.*"]), restricted(&["chat.a", "user.7"]));
        // A subscription with the right to all channels also receives unknown channels.
        assert_ne!(restricted(&["chat.*"]), restricted(&["*"]));
    }

    #[test]
    fn rights_follow_the_subscription_and_the_identity() {
        let filters = ChannelFilters::default();
        let identity = token(&["chat.*", "lobby"], &[], &[]);
        let mut subscription = subscription(NewSubscription::default());
        subscription.restrict(&identity, &filters);
        let lobby = SubscriptionRequest { channels: list(&["lobby"]), ..Default::default() };
        subscription.subscribe(lobby).expect("valid names");
        subscription.compile(&identity, &filters);
        assert!(subscription.has_channel(Some("lobby")));
        assert!(!subscription.has_channel(Some("chat.a")), "named channels replace the default");
        let all = SubscriptionRequest { channels: list(&["*"]), ..Default::default() };
        subscription.subscribe(all).expect("valid names");
        subscription.compile(&identity, &filters);
        assert!(subscription.has_channel(Some("chat.a")));
        subscription.restrict(&token(&["news"], &[], &[]), &filters);
        assert!(subscription.has_channel(Some("news")));
        assert!(!subscription.has_channel(Some("chat.a")));
    }

    #[test]
    fn anonymous_callers_have_the_rights_of_a_key_without_patterns() {
        let filters = ChannelFilters::default();
        let subscriber = Identity::Anonymous(Scopes::from_iter([Scope::Subscribe]));
        let mut all = subscription(NewSubscription::default());
        assert!(all.restrict(&subscriber, &filters).is_empty() && all.has_every_channel());
        let forbidden = all.restrict(&Identity::Anonymous(Scopes::EMPTY), &filters);
        assert_eq!(forbidden.feeds, ["messages"]);
        assert!(!all.has_channel(Some("lobby")));
    }
}
