use mayfly_core::{Timestamp, Username};
use uuid::Uuid;

use super::*;
use crate::{feeds::Feeds, key::KeyLimits};

/// Every kind of access, with names that the patterns of the tests cover.
const ALL: [Access<'static>; 20] = [
    Access::PublishMessage { channel: "chat.a", username: Some("fred") },
    Access::PublishMessage { channel: "chat.a", username: None },
    Access::PublishPlays,
    Access::PublishVisits { host: "www.example.org" },
    Access::ReadMessage { channel: "chat.a", username: Some("fred") },
    Access::ReadMessage { channel: "chat.a", username: None },
    Access::ReadMessages,
    Access::ReadInbox { username: "fred" },
    Access::TakeInbox { username: "fred" },
    Access::DeleteMessage { channel: "chat.a", username: Some("fred") },
    Access::ReadPlays,
    Access::ReadHost { host: "www.example.org" },
    Access::ReadPulse,
    Access::Subscribe { channel: "chat.a" },
    Access::SubscribeFeed { feed: Feed::Messages },
    Access::SubscribeFeed { feed: Feed::Plays },
    Access::SubscribeFeed { feed: Feed::Pulse },
    Access::SubscribeFeed { feed: Feed::Rising },
    Access::SubscribeHost { host: "www.example.org" },
    Access::Connect,
];

fn names(pattern: &str) -> Names {
    Names::parse([pattern]).expect("a pattern")
}

fn key(scopes: &[Scope]) -> Key {
    Key {
        id: Uuid::from_u128(7),
        scopes: scopes.iter().copied().collect(),
        channels: Names::All,
        usernames: Names::All,
        hosts: Names::All,
        limits: KeyLimits::default(),
        expires_at: None,
        is_revoked: false,
    }
}

fn with_key(key: Key) -> Identity {
    Identity::Key(Arc::new(key))
}

fn with_rights(rights: TokenRights) -> Identity {
    let subject = Username::parse("fred").expect("a username");
    Identity::Token(Arc::new(Token { subject, id: None, issued_at: None, expires_at: 100, rights }))
}

/// Returns the actions of `ALL` that an identity may do.
fn allowed(identity: &Identity) -> Vec<Access<'static>> {
    ALL.into_iter().filter(|access| identity.allows(access)).collect()
}

fn check(identity: &Identity, allowed: &[Access<'_>], forbidden: &[Access<'_>]) {
    for access in allowed {
        assert!(identity.allows(access), "{access:?}");
    }
    for access in forbidden {
        assert!(!identity.allows(access), "{access:?}");
    }
}

#[test]
fn mode_open_allows_everything() {
    assert_eq!(allowed(&Identity::Open), ALL);
    assert!(Scope::ALL.into_iter().all(|scope| Identity::Open.has_scope(scope)));
}

#[test]
fn scope_allows_exactly_its_actions() {
    for scope in Scope::ALL {
        let expected: Vec<_> = ALL
            .into_iter()
            .filter(|access| scope == Scope::Operate || access.scope() == scope)
            .collect();
        assert!(!expected.is_empty());
        let scopes = Scopes::from_iter([scope]);
        for identity in [with_key(key(&[scope])), Identity::Anonymous(scopes)] {
            assert_eq!(allowed(&identity), expected, "{identity:?}");
            for other in Scope::ALL {
                let is_held = scope == Scope::Operate || scope == other;
                assert_eq!(identity.has_scope(other), is_held);
            }
        }
    }
    assert!(allowed(&with_key(key(&[]))).is_empty());
    assert!(allowed(&Identity::Anonymous(Scopes::EMPTY)).is_empty());
}

/// The scopes except [`Scope::Operate`].
const LIMITED: [Scope; 4] = [Scope::Publish, Scope::Subscribe, Scope::Read, Scope::Take];

#[test]
fn channels_of_a_key_restrict_messages_and_exclude_inboxes() {
    let identity = with_key(Key { channels: names("chat.*"), ..key(&LIMITED) });
    check(
        &identity,
        &[
            Access::PublishMessage { channel: "chat.a", username: Some("any") },
            Access::ReadMessage { channel: "chat.a", username: None },
            Access::DeleteMessage { channel: "chat.a", username: Some("any") },
            Access::Subscribe { channel: "chat.a" },
            Access::ReadMessages,
            Access::ReadHost { host: "any" },
            Access::PublishPlays,
        ],
        &[
            Access::PublishMessage { channel: "chat", username: None },
            Access::ReadMessage { channel: "Chat.a", username: None },
            Access::DeleteMessage { channel: "lobby", username: None },
            Access::Subscribe { channel: "lobby" },
            Access::ReadInbox { username: "fred" },
            Access::TakeInbox { username: "fred" },
        ],
    );
    let all = with_key(Key { channels: names("*"), ..key(&LIMITED) });
    assert_eq!(allowed(&all), ALL);
}

/// Such a key is a key of the visitor source, which anyone may own.
#[test]
fn key_without_channels_and_usernames_reads_only_its_hosts() {
    let key = key(&[Scope::Read]);
    let key = Key { channels: Names::none(), usernames: Names::none(), ..key };
    let host = Access::ReadHost { host: "www.example.org" };
    let identity = with_key(Key { hosts: names("*.example.org"), ..key.clone() });
    // A list of messages also requires the right to a channel.
    assert_eq!(allowed(&identity), [Access::ReadMessages, host]);
    let identity = with_key(Key { usernames: names("f*"), ..key });
    check(&identity, &[Access::ReadPlays, Access::ReadPulse], &[]);
}

#[test]
fn usernames_of_a_key_restrict_inboxes_and_messages_with_a_username_and_exclude_subscriptions() {
    let identity = with_key(Key { usernames: names("f*"), ..key(&LIMITED) });
    check(
        &identity,
        &[
            Access::PublishMessage { channel: "any", username: Some("fred") },
            Access::PublishMessage { channel: "any", username: None },
            Access::ReadMessage { channel: "any", username: Some("fred") },
            Access::ReadMessage { channel: "any", username: None },
            Access::ReadInbox { username: "fred" },
            Access::TakeInbox { username: "fred" },
            Access::SubscribeFeed { feed: Feed::Plays },
            Access::Connect,
        ],
        &[
            Access::PublishMessage { channel: "any", username: Some("Fred") },
            Access::ReadMessage { channel: "any", username: Some("ann") },
            Access::DeleteMessage { channel: "any", username: Some("ann") },
            Access::ReadInbox { username: "ann" },
            Access::TakeInbox { username: "ann" },
            Access::Subscribe { channel: "any" },
            Access::SubscribeFeed { feed: Feed::Messages },
        ],
    );
}

#[test]
fn hosts_of_a_key_restrict_hosts_whatever_their_case() {
    let identity = with_key(Key { hosts: names("*.Example.org"), ..key(&LIMITED) });
    assert_eq!(allowed(&identity), ALL);
    for host in ["example.org", "www.example.org.evil", ""] {
        check(
            &identity,
            &[],
            &[
                Access::PublishVisits { host },
                Access::ReadHost { host },
                Access::SubscribeHost { host },
            ],
        );
    }
}

#[test]
fn operate_ignores_patterns() {
    let identity = with_key(Key {
        channels: Names::none(),
        usernames: Names::none(),
        hosts: Names::none(),
        ..key(&[Scope::Operate])
    });
    assert_eq!(allowed(&identity), ALL);
    assert!(identity.readable_messages().is_all());
    assert_eq!(identity.subscribable_channels(), Names::All);
}

#[test]
fn token_without_rights_allows_nothing() {
    let identity = with_rights(TokenRights::default());
    assert!(allowed(&identity).is_empty());
    assert!(Scope::ALL.into_iter().all(|scope| !identity.has_scope(scope)));
}

#[test]
fn each_claim_of_a_token_grants_its_actions() {
    let (none, fred) = (TokenRights::default, Some("fred"));
    let message = |username| Access::ReadMessage { channel: "chat.a", username };
    let to_feed = |feed| Access::SubscribeFeed { feed };
    let (host, username) = ("www.example.org", "fred");
    for (rights, scopes, expected) in [
        (
            TokenRights { publish: names("chat.*"), ..none() },
            &[Scope::Publish][..],
            &[
                Access::PublishMessage { channel: "chat.a", username: fred },
                Access::PublishMessage { channel: "chat.a", username: None },
            ][..],
        ),
        (TokenRights { plays: true, ..none() }, &[Scope::Publish], &[Access::PublishPlays]),
        (
            TokenRights { visits: names("*"), ..none() },
            &[Scope::Publish],
            &[Access::PublishVisits { host }],
        ),
        (
            TokenRights { subscribe: names("chat.*"), ..none() },
            &[Scope::Subscribe, Scope::Read],
            &[
                message(fred),
                message(None),
                Access::ReadMessages,
                Access::Subscribe { channel: "chat.a" },
                to_feed(Feed::Messages),
                Access::Connect,
            ],
        ),
        (
            TokenRights { feeds: Feeds::from_iter([Feed::Plays]), ..none() },
            &[Scope::Subscribe, Scope::Read],
            &[Access::ReadPlays, to_feed(Feed::Plays), Access::Connect],
        ),
        (
            TokenRights { feeds: Feeds::from_iter([Feed::Pulse]), ..none() },
            &[Scope::Subscribe, Scope::Read],
            &[Access::ReadPulse, to_feed(Feed::Pulse), Access::Connect],
        ),
        (
            TokenRights { feeds: Feeds::from_iter([Feed::Rising]), ..none() },
            &[Scope::Subscribe],
            &[to_feed(Feed::Rising), Access::Connect],
        ),
        (
            TokenRights { hosts: names("*.example.org"), ..none() },
            &[Scope::Read],
            &[Access::ReadHost { host }],
        ),
        (
            TokenRights {
                hosts: names("*.example.org"),
                feeds: Feeds::from_iter([Feed::Rising]),
                ..none()
            },
            &[Scope::Subscribe, Scope::Read],
            &[
                Access::ReadHost { host },
                to_feed(Feed::Rising),
                Access::SubscribeHost { host },
                Access::Connect,
            ],
        ),
        (
            TokenRights { inbox: true, ..none() },
            &[Scope::Read, Scope::Take],
            &[
                message(fred),
                Access::ReadMessages,
                Access::ReadInbox { username },
                Access::TakeInbox { username },
                Access::DeleteMessage { channel: "chat.a", username: fred },
            ],
        ),
    ] {
        let identity = with_rights(rights);
        assert_eq!(allowed(&identity), expected, "{identity:?}");
        for scope in Scope::ALL {
            assert_eq!(identity.has_scope(scope), scopes.contains(&scope), "{identity:?}");
        }
    }
}

#[test]
fn token_has_no_right_to_other_names() {
    let identity = with_rights(TokenRights {
        publish: names("chat.*"),
        subscribe: names("chat.*"),
        feeds: Feeds::from_iter(Feed::ALL),
        hosts: names("*.example.org"),
        inbox: true,
        plays: true,
        visits: names("*.example.org"),
    });
    assert_eq!(allowed(&identity), ALL);
    let (channel, host, ann) = ("lobby", "example.org", "ann");
    check(
        &identity,
        // The inbox contains messages of every channel.
        &[
            Access::ReadMessage { channel, username: Some("fred") },
            Access::DeleteMessage { channel, username: Some("fred") },
        ],
        &[
            Access::PublishMessage { channel, username: None },
            Access::PublishMessage { channel: "chat.a", username: Some(ann) },
            Access::PublishMessage { channel: "chat.a", username: Some("Fred") },
            Access::PublishVisits { host },
            Access::ReadMessage { channel, username: Some(ann) },
            Access::ReadMessage { channel, username: None },
            Access::ReadInbox { username: ann },
            Access::TakeInbox { username: ann },
            Access::DeleteMessage { channel: "chat.a", username: Some(ann) },
            Access::DeleteMessage { channel: "chat.a", username: None },
            Access::ReadHost { host },
            Access::Subscribe { channel },
            Access::SubscribeHost { host },
        ],
    );
}

#[test]
fn readable_messages_agree_with_the_decision_about_one_message() {
    let identities = [
        (Identity::Open, true, false),
        (Identity::Anonymous(Scopes::from_iter([Scope::Read])), true, false),
        (Identity::Anonymous(Scopes::from_iter([Scope::Publish])), false, true),
        (with_key(key(&[Scope::Take])), false, true),
        (with_key(key(&[Scope::Read])), true, false),
        (with_key(Key { channels: names("chat.*"), ..key(&LIMITED) }), false, false),
        (with_key(Key { usernames: names("f*"), ..key(&LIMITED) }), false, false),
        (with_key(Key { channels: Names::none(), ..key(&LIMITED) }), false, true),
        (with_rights(TokenRights::default()), false, true),
        (with_rights(TokenRights { inbox: true, ..TokenRights::default() }), false, false),
        (with_rights(TokenRights { subscribe: names("*"), ..TokenRights::default() }), true, false),
    ];
    for (identity, is_all, is_none) in identities {
        let readable = identity.readable_messages();
        assert_eq!((readable.is_all(), readable.is_none()), (is_all, is_none), "{identity:?}");
        for channel in ["chat.a", "lobby"] {
            for username in [None, Some("fred"), Some("ann")] {
                let expected = identity.allows(&Access::ReadMessage { channel, username });
                assert_eq!(readable.matches(channel, username), expected, "{identity:?}");
                assert!(expected || !is_all);
                assert!(!expected || !is_none);
            }
        }
    }
}

#[test]
fn subscribable_channels_agree_with_the_decision_about_one_channel() {
    let subscribe = |pattern| TokenRights { subscribe: names(pattern), ..TokenRights::default() };
    for identity in [
        Identity::Open,
        Identity::Anonymous(Scopes::from_iter([Scope::Subscribe])),
        Identity::Anonymous(Scopes::from_iter([Scope::Read])),
        with_key(key(&[Scope::Subscribe])),
        with_key(key(&[Scope::Read])),
        with_key(Key { channels: names("chat.*"), ..key(&LIMITED) }),
        with_key(Key { usernames: names("f*"), ..key(&LIMITED) }),
        with_rights(TokenRights::default()),
        with_rights(subscribe("chat.*")),
        with_rights(subscribe("*")),
    ] {
        let channels = identity.subscribable_channels();
        for channel in ["chat.a", "lobby"] {
            let expected = identity.allows(&Access::Subscribe { channel });
            assert_eq!(channels.matches(channel), expected, "{identity:?}");
        }
        let feed = Access::SubscribeFeed { feed: Feed::Messages };
        assert_eq!(!channels.is_none(), identity.allows(&feed), "{identity:?}");
    }
}

#[test]
fn clients_are_counted_by_key_or_subject() {
    assert_eq!(Identity::Open.client_id(), None);
    assert_eq!(Identity::Anonymous(Scopes::EMPTY).client_id(), None);
    let id = "key:00000000-0000-0000-0000-000000000007";
    assert_eq!(with_key(key(&[])).client_id().as_deref(), Some(id));
    let token = with_rights(TokenRights::default());
    assert_eq!(token.client_id().as_deref(), Some("token:fred"));
}

#[test]
fn key_ends_at_its_expiry_time_and_a_token_after_the_leeway() {
    let expires_at = Some(Timestamp::from_millis(1_999));
    assert_eq!(with_key(Key { expires_at, ..key(&[]) }).ends_at(), expires_at);
    assert_eq!(with_key(key(&[])).ends_at(), None);
    let token = with_rights(TokenRights::default());
    assert_eq!(token.ends_at(), Some(Timestamp::from_millis(130_000)));
    assert_eq!(Identity::Open.ends_at(), None);
    assert_eq!(Identity::Anonymous(Scopes::EMPTY).ends_at(), None);
}
