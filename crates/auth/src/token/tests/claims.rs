//! Tests of the claims of a token that is signed correctly.

use mayfly_core::Feed;

use super::*;
use crate::{feeds::Feeds, names::Names};

#[test]
fn claims_become_the_token() {
    let names = |pattern: &str| Names::parse([pattern]).expect("a pattern");
    let token = verify_claims(&json!({
        "jti": "ü", "iat": NOW_S, "nbf": NOW_S, "aud": "any", "iss": "any", "other": [1],
        "mayfly": {
            "publish": ["chat.*"], "subscribe": ["lobby"], "feeds": ["plays", "rising"],
            "hosts": ["*.Example.org"], "inbox": true, "plays": true, "visits": ["a"],
        },
    }));
    let expected = Token {
        subject: mayfly_core::Username::parse("fred").expect("a username"),
        id: Some("ü".into()),
        issued_at: Some(NOW_S),
        expires_at: NOW_S + 60,
        rights: TokenRights {
            publish: names("chat.*"),
            subscribe: names("lobby"),
            feeds: Feeds::from_iter([Feed::Plays, Feed::Rising]),
            hosts: names("*.Example.org"),
            inbox: true,
            plays: true,
            visits: names("a"),
        },
    };
    assert_eq!(token, Ok(expected));
}

#[test]
fn missing_right_is_not_granted() {
    for mayfly in [json!(null), json!({}), json!({"inbox": false, "publish": []})] {
        let token = verify_claims(&json!({ "mayfly": mayfly })).expect("a token");
        assert_eq!(token.rights, TokenRights::default(), "{mayfly}");
        assert!(token.rights.publish.is_none() && token.rights.visits.is_none());
    }
}

#[test]
fn unknown_rights_are_ignored() {
    let mayfly = json!({"admin": true, "Publish": ["a"], "later": {"inbox": [1]}, "inbox": true});
    let token = verify_claims(&json!({ "mayfly": mayfly })).expect("a token");
    assert_eq!(token.rights, TokenRights { inbox: true, ..TokenRights::default() });
}

#[test]
fn invalid_rights_are_rejected() {
    let many = |count: usize| (0..count).map(|index| index.to_string()).collect::<Vec<_>>();
    let accepted = json!({"mayfly": {"hosts": many(64)}});
    assert!(verify_claims(&accepted).is_ok());
    for mayfly in [
        json!([]),
        json!([["*"], ["*"]]),
        json!("all"),
        json!(true),
        json!({"publish": "chat.*"}),
        json!({"publish": null}),
        json!({"publish": [1]}),
        json!({"publish": [""]}),
        json!({"publish": ["*********"]}),
        json!({"subscribe": {"all": true}}),
        json!({"hosts": many(65)}),
        json!({"feeds": ["all"]}),
        json!({"feeds": "plays"}),
        json!({"inbox": "true"}),
        json!({"inbox": 1}),
        json!({"plays": null}),
    ] {
        let token = verify_claims(&json!({ "mayfly": mayfly }));
        assert_eq!(token, Err(TokenError::Claim("mayfly")), "{mayfly}");
    }
}

#[test]
fn expiry_time_is_required() {
    for wrong in [
        json!(null),
        json!("1795201680"),
        json!(-1),
        json!(-0.5),
        json!(1e300),
        json!(u64::MAX),
        json!(i64::MAX),
        json!(true),
        json!([NOW_S + 60]),
        // Milliseconds instead of seconds.
        json!((NOW_S + 60) * 1_000),
        json!(253_402_300_800_i64),
    ] {
        let token = verify_claims(&json!({ "exp": wrong }));
        assert_eq!(token, Err(TokenError::Claim("exp")), "{wrong}");
    }
    let latest = verify_claims(&json!({"exp": 253_402_300_799_i64})).expect("a token");
    assert_eq!(latest.ends_at_s(), 253_402_300_829);
}

#[test]
fn token_expires_after_the_leeway() {
    for (expires_at, expected) in [
        (json!(NOW_S + 1), Ok(NOW_S + 1)),
        (json!(NOW_S), Ok(NOW_S)),
        (json!(NOW_S - LEEWAY_S + 1), Ok(NOW_S - LEEWAY_S + 1)),
        (json!(NOW_S - LEEWAY_S), Err(TokenError::Expired)),
        (json!(0), Err(TokenError::Expired)),
        (json!(0.5), Err(TokenError::Expired)),
        (json!(1_795_201_600.9), Ok(1_795_201_600)),
    ] {
        let token = verify_claims(&json!({ "exp": expires_at }));
        assert_eq!(token.map(|token| token.expires_at), expected, "{expires_at}");
    }
    let token = verify_claims(&json!({})).expect("a token");
    let text = KeyPair::secret(SECRET).sign(None, &claims(&json!({})));
    let verifier = TokenVerifier::new(settings());
    assert!(verifier.verify(&text, token.ends_at_s() - 1).is_ok());
    assert_eq!(verifier.verify(&text, token.ends_at_s()), Err(TokenError::Expired));
    assert_eq!(verifier.verify(&text, i64::MAX), Err(TokenError::Expired));
    assert!(verifier.verify(&text, i64::MIN).is_ok());
}

#[test]
fn token_is_not_valid_before_its_time() {
    for claim in ["nbf", "iat"] {
        for (time, expected) in [
            (json!(0), Ok(())),
            (json!(NOW_S + LEEWAY_S), Ok(())),
            (json!(NOW_S + LEEWAY_S + 1), Err(TokenError::NotYetValid)),
            (json!(253_402_300_799_i64), Err(TokenError::NotYetValid)),
            (json!("0"), Err(TokenError::Claim(claim))),
            (json!(-1), Err(TokenError::Claim(claim))),
            (json!({}), Err(TokenError::Claim(claim))),
        ] {
            let token = verify_claims(&json!({ claim: time }));
            assert_eq!(token.map(drop), expected, "{claim} {time}");
        }
    }
}

/// Verifies a token, signed with the secret, with required issuers and audiences.
fn verify_required(
    issuers: &[&str],
    audiences: &[&str],
    changes: &Value,
) -> Result<(), TokenError> {
    let owned = |list: &[&str]| list.iter().copied().map(str::to_owned).collect();
    let settings =
        TokenSettings { issuers: owned(issuers), audiences: owned(audiences), ..settings() };
    let token = KeyPair::secret(SECRET).sign(None, &claims(changes));
    TokenVerifier::new(settings).verify(&token, NOW_S).map(drop)
}

#[test]
fn issuer_is_one_of_the_accepted_ones() {
    for (issuer, expected) in [
        (json!("a"), Ok(())),
        (json!("b"), Ok(())),
        (json!("A"), Err(TokenError::Issuer)),
        (json!("ab"), Err(TokenError::Issuer)),
        (json!(""), Err(TokenError::Issuer)),
        (json!(null), Err(TokenError::Issuer)),
        (json!(["a"]), Err(TokenError::Claim("iss"))),
        (json!(1), Err(TokenError::Claim("iss"))),
    ] {
        assert_eq!(verify_required(&["a", "b"], &[], &json!({ "iss": issuer })), expected);
    }
}

#[test]
fn audience_contains_an_accepted_one() {
    for (audience, expected) in [
        (json!("a"), Ok(())),
        (json!(["x", "b"]), Ok(())),
        (json!("x"), Err(TokenError::Audience)),
        (json!(["x"]), Err(TokenError::Audience)),
        (json!([]), Err(TokenError::Audience)),
        (json!(null), Err(TokenError::Audience)),
        (json!({"a": 1}), Err(TokenError::Claim("aud"))),
        (json!([1, "a"]), Err(TokenError::Claim("aud"))),
    ] {
        assert_eq!(verify_required(&[], &["a", "b"], &json!({ "aud": audience })), expected);
    }
}

#[test]
fn subject_is_a_username() {
    for wrong in [json!(null), json!(""), json!(5), json!("a\u{0}b"), json!("ü".repeat(201))] {
        let token = verify_claims(&json!({ "sub": wrong }));
        assert_eq!(token, Err(TokenError::Claim("sub")), "{wrong}");
    }
    assert!(verify_claims(&json!({"sub": "ü".repeat(200)})).is_ok());
}

#[test]
fn id_has_1_to_128_characters_without_control_characters() {
    for wrong in [json!(""), json!(5), json!("a\u{0}"), json!("ü".repeat(129))] {
        let token = verify_claims(&json!({ "jti": wrong }));
        assert_eq!(token, Err(TokenError::Claim("jti")), "{wrong}");
    }
    assert!(verify_claims(&json!({"jti": "ü".repeat(128)})).is_ok());
}

/// Parsers that disagree about duplicates could grant what the issuer did not intend.
#[test]
fn duplicate_claims_are_rejected() {
    let pair = KeyPair::secret(SECRET);
    let header = pair.header(None).to_string();
    let exp = NOW_S + 60;
    for (payload, error) in [
        (format!(r#"{{"sub":"a","sub":"b","exp":{exp}}}"#), TokenError::Malformed),
        (format!(r#"{{"sub":"a","exp":{exp},"exp":9}}"#), TokenError::Malformed),
        (
            format!(r#"{{"sub":"a","exp":{exp},"mayfly":{{"inbox":false,"inbox":true}}}}"#),
            TokenError::Claim("mayfly"),
        ),
        (format!(r#"["a",null,{exp}]"#), TokenError::Malformed),
        (format!(r#"{{"sub":"a","exp":{exp}}} x"#), TokenError::Malformed),
        (String::new(), TokenError::Malformed),
        ("null".to_owned(), TokenError::Malformed),
    ] {
        assert_eq!(verify(&pair.sign_parts(&header, &payload)), Err(error), "{payload}");
    }
}
