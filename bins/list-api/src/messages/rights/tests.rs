use std::sync::Arc;

use mayfly_auth::{Key, KeyLimits, Scopes, Token, TokenRights};
use mayfly_core::MessageId;
use uuid::Uuid;

use super::*;

fn names(patterns: &[&str]) -> Names {
    Names::parse(patterns.iter().copied()).expect("patterns")
}

/// Creates a key with these scopes and patterns.
fn key(scopes: &[Scope], channels: Names, usernames: Names) -> Identity {
    Identity::Key(Arc::new(Key {
        id: Uuid::from_u128(1),
        scopes: scopes.iter().copied().collect::<Scopes>(),
        channels,
        usernames,
        hosts: Names::All,
        limits: KeyLimits::default(),
        expires_at: None,
        is_revoked: false,
    }))
}

/// Creates a token of `fred` with these channels.
fn token(subscribe: &[&str], inbox: bool) -> Identity {
    Identity::Token(Arc::new(Token {
        subject: Username::parse("fred").expect("a username"),
        id: None,
        issued_at: None,
        expires_at: 0,
        rights: TokenRights { subscribe: names(subscribe), inbox, ..TokenRights::default() },
    }))
}

fn reader(channels: Names, usernames: Names) -> Identity {
    key(&[Scope::Read], channels, usernames)
}

/// Describes the readable part of a list with these filters.
fn part(identity: &Identity, channel: Option<&str>, username: Option<&str>) -> String {
    let request = PageRequest {
        channel: channel.map(|name| Channel::parse(name).expect("a channel")),
        username: username.map(|name| Username::parse(name).expect("a username")),
        ..PageRequest::default()
    };
    match find_readable_part(identity, &request) {
        Ok(ReadablePart::All) => "all".to_owned(),
        Ok(ReadablePart::Some(None)) => "some".to_owned(),
        Ok(ReadablePart::Some(Some(names))) => {
            format!("{} {}", names.channels.join(","), names.usernames.join(","))
        }
        Err(problem) => format!("{problem} {}", problem.summary()),
    }
}

fn is_forbidden(part: &str, field: &str) -> bool {
    part.starts_with(&format!("forbidden {field} "))
}

#[test]
fn caller_without_restrictions_reads_every_list() {
    for identity in [
        Identity::Open,
        Identity::Anonymous(Scopes::from_iter([Scope::Read])),
        reader(Names::All, names(&["*"])),
        key(&[Scope::Operate], Names::none(), Names::none()),
        token(&["*"], false),
    ] {
        for channel in [None, Some("a")] {
            for username in [None, Some("fred")] {
                assert_eq!(part(&identity, channel, username), "all", "{identity:?}");
            }
        }
    }
}

#[test]
fn caller_without_rights_reads_no_list() {
    for identity in [
        Identity::Anonymous(Scopes::EMPTY),
        key(&[Scope::Publish, Scope::Take], Names::All, Names::All),
        reader(Names::none(), Names::All),
        token(&[], false),
    ] {
        assert!(part(&identity, None, None).starts_with("forbidden"), "{identity:?}");
        assert!(part(&identity, Some("a"), Some("fred")).starts_with("forbidden"));
    }
}

#[test]
fn list_is_limited_to_the_channels_of_a_key() {
    let exact = reader(names(&["b", "a"]), Names::All);
    assert_eq!(part(&exact, None, None), "a,b ");
    assert_eq!(part(&exact, Some("a"), None), "all");
    assert_eq!(part(&exact, Some("a"), Some("eve")), "all");
    assert_eq!(part(&exact, None, Some("eve")), "some");
    assert!(is_forbidden(&part(&exact, Some("c"), None), "channel"));
    let pattern = reader(names(&["a", "chat.*"]), Names::All);
    assert_eq!(part(&pattern, None, None), "some");
    assert_eq!(part(&pattern, Some("chat.1"), None), "all");
}

#[test]
fn list_is_limited_to_the_usernames_of_a_key() {
    let identity = reader(Names::All, names(&["fred"]));
    assert_eq!(part(&identity, None, None), "some");
    assert_eq!(part(&identity, Some("a"), None), "some", "also messages without a username");
    assert_eq!(part(&identity, Some("a"), Some("fred")), "all");
    assert_eq!(part(&identity, None, Some("fred")), "all");
    assert!(is_forbidden(&part(&identity, None, Some("eve")), "username"));
    assert!(is_forbidden(&part(&identity, Some("a"), Some("eve")), "username"));
}

#[test]
fn list_of_a_token_contains_its_channels_and_the_messages_of_its_subject() {
    let both = token(&["a"], true);
    assert_eq!(part(&both, None, None), "a fred");
    assert_eq!(part(&both, None, Some("fred")), "all");
    assert_eq!(part(&both, None, Some("eve")), "some");
    assert_eq!(part(&both, Some("b"), Some("fred")), "all");
    assert!(is_forbidden(&part(&both, Some("b"), None), "channel"));
    let inbox = token(&[], true);
    assert_eq!(part(&inbox, None, None), " fred");
    assert!(is_forbidden(&part(&inbox, None, Some("eve")), "username"));
    let channels = token(&["a"], false);
    assert_eq!(part(&channels, None, None), "a ");
    assert_eq!(part(&channels, None, Some("fred")), "some");
}

#[test]
fn message_by_id_is_included_if_the_action_is_allowed() {
    let id = MessageId::from(Uuid::now_v7());
    let json = |channel: &str, username: &str| {
        format!(
            r#"{{"id":"{id}","channel":"{channel}","username":{username},"text":"x","city":null,"state":null,"data":null,"created_at":"2026-11-20T19:07:00.123Z","expires_at":"2026-11-20T19:08:00.123Z"}}"#
        )
    };
    let (fred, eve, nobody) = (json("a", "\"fred\""), json("a", "\"eve\""), json("a", "null"));
    let includes = |rights: MessageRights<'_>| {
        [&fred, &eve, &nobody].map(|json| {
            let end = json.find("\"text\"").expect("a text") + 2;
            let start = &json.as_bytes()[..end];
            assert_eq!(rights.include_start(start), rights.include_start(json.as_bytes()));
            rights.include_start(start)
        })
    };
    let both = token(&["a"], true);
    assert_eq!(includes(MessageRights::to_read(&both)), [true; 3]);
    assert_eq!(includes(MessageRights::to_delete(&both)), [true, false, false]);
    let key = key(&[Scope::Read, Scope::Take], names(&["a"]), names(&["fred"]));
    assert_eq!(includes(MessageRights::to_read(&key)), [true, false, true]);
    assert_eq!(includes(MessageRights::to_delete(&key)), [true, false, true]);
    let reader = reader(Names::All, Names::All);
    assert!(MessageRights::to_read(&reader).is_all());
    assert_eq!(includes(MessageRights::to_delete(&reader)), [false; 3]);
    let other = token(&["b"], false);
    assert_eq!(includes(MessageRights::to_read(&other)), [false; 3]);
    // The username is unknown, and may be one that the key does not allow.
    for json in [
        r#"{"channel":"a"}"#,
        r#"{"channel":"a","username":"ev"#,
        r#"{"channel":"a","text":"x","username":"eve"}"#,
    ] {
        assert!(!MessageRights::to_read(&key).include_start(json.as_bytes()), "{json}");
    }
    for json in ["not JSON", "{}", r#"{"channel":7}"#, r#"{"text":"x","channel":"a"}"#] {
        assert!(!MessageRights::to_read(&both).include_start(json.as_bytes()), "{json}");
        assert!(MessageRights::to_delete(&Identity::Open).include_start(json.as_bytes()));
    }
}
