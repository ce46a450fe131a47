//! Tests of key sets.

use super::*;
use crate::token::JwkSetError;

fn verify_with(jwks: JwkSet, token: &str) -> Result<(), TokenError> {
    let verifier = TokenVerifier::new(settings()).with_jwks(jwks);
    verifier.verify(token, NOW_S).map(drop)
}

#[test]
fn each_algorithm_verifies_with_its_key() {
    let pairs = [KeyPair::rsa(), KeyPair::ec(), KeyPair::ed()];
    let ids = ["r", "c", "d"];
    let keys: Vec<_> = pairs.iter().zip(ids).map(|(pair, id)| pair.to_jwk(Some(id))).collect();
    let jwks = key_set(&keys);
    assert_eq!((jwks.len(), jwks.is_empty()), (3, false));
    let verifier = TokenVerifier::new(settings()).with_jwks(jwks);
    for (pair, id) in pairs.iter().zip(ids) {
        let sign = |id| pair.sign(id, &claims(&json!({})));
        let verify = |id| verifier.verify(&sign(id), NOW_S).map(drop);
        assert_eq!(verify(Some(id)), Ok(()), "{id}");
        assert_eq!(verify(Some("x")), Err(TokenError::UnknownKey), "{id}");
        // The set has one key for each algorithm.
        assert_eq!(verify(None), Ok(()), "{id}");
        for other in ids.into_iter().filter(|other| *other != id) {
            assert_eq!(verify(Some(other)), Err(TokenError::Algorithm), "{id} {other}");
        }
        let changed = sign(Some(id)).replacen('.', ".e", 1);
        assert_eq!(verifier.verify(&changed, NOW_S), Err(TokenError::Signature), "{id}");
    }
    // The secrets still verify.
    let token = KeyPair::secret(SECRET).sign(Some("r"), &claims(&json!({})));
    assert!(verifier.verify(&token, NOW_S).is_ok());
}

#[test]
fn key_of_another_owner_does_not_verify() {
    for (own, other) in [(KeyPair::ec(), KeyPair::ec()), (KeyPair::ed(), KeyPair::ed())] {
        let jwks = key_set(&[own.to_jwk(Some("k"))]);
        let token = other.sign(Some("k"), &claims(&json!({})));
        assert_eq!(verify_with(jwks, &token), Err(TokenError::Signature));
    }
}

#[test]
fn key_without_an_id_is_ambiguous_among_several() {
    let (one, other) = (KeyPair::ed(), KeyPair::ed());
    let token = |id| one.sign(id, &claims(&json!({})));
    let jwks = key_set(&[one.to_jwk(None), other.to_jwk(Some("k"))]);
    assert_eq!(verify_with(jwks.clone(), &token(None)), Err(TokenError::UnknownKey));
    assert_eq!(verify_with(jwks.clone(), &token(Some("x"))), Err(TokenError::UnknownKey));
    assert_eq!(verify_with(jwks, &token(Some("k"))), Err(TokenError::Signature));
    // Two keys with the same ID are both tried.
    let jwks = key_set(&[other.to_jwk(Some("k")), one.to_jwk(Some("k"))]);
    assert_eq!(verify_with(jwks, &token(Some("k"))), Ok(()));
}

#[test]
fn key_is_unknown_until_a_key_set_is_loaded() {
    let token = KeyPair::ed().sign(Some("k"), &claims(&json!({})));
    assert_eq!(verify_with(JwkSet::default(), &token), Err(TokenError::UnknownKey));
    assert_eq!(verify(&token), Err(TokenError::Algorithm));
    let without_secrets = TokenVerifier::new(TokenSettings::default());
    let token = KeyPair::secret(SECRET).sign(None, &claims(&json!({})));
    assert_eq!(without_secrets.verify(&token, NOW_S), Err(TokenError::Algorithm));
}

/// Returns the JWK of a pair with one parameter replaced.
fn change(pair: &KeyPair, name: &str, value: Value) -> Value {
    let mut jwk = pair.to_jwk(Some("k"));
    jwk[name] = value;
    jwk
}

#[test]
fn keys_for_other_purposes_and_invalid_keys_are_ignored() {
    let (rsa, ec, ed) = (KeyPair::rsa(), KeyPair::ec(), KeyPair::ed());
    let short = "AQAB";
    let ignored = [
        json!({"kty": "oct", "kid": "k", "k": encode(SECRET)}),
        json!({"kty": "AKP", "kid": "k"}),
        json!({"kid": "k"}),
        json!(5),
        json!(null),
        change(&rsa, "use", json!("enc")),
        change(&ec, "key_ops", json!(["sign"])),
        change(&rsa, "alg", json!("RS512")),
        change(&rsa, "alg", json!("PS256")),
        change(&rsa, "alg", json!("HS256")),
        change(&ec, "alg", json!("ES384")),
        change(&ed, "alg", json!("ES256")),
        // A modulus of 24, 2,047 and 8,193 bits.
        change(&rsa, "n", json!(short)),
        change(&rsa, "n", json!(URL_SAFE_NO_PAD.encode([&[0x7f][..], &[0xff; 255]].concat()))),
        change(&rsa, "n", json!(URL_SAFE_NO_PAD.encode([&[1][..], &[0xff; 1_024]].concat()))),
        change(&rsa, "n", json!(URL_SAFE_NO_PAD.encode([0; 256]))),
        change(&rsa, "n", json!(null)),
        change(&rsa, "n", json!(URL_SAFE_NO_PAD.encode([0xfe; 256]))),
        change(&rsa, "e", json!("!")),
        // An exponent of 0, 1, 65,538 and more than 32 bits.
        change(&rsa, "e", json!("AA")),
        change(&rsa, "e", json!("AAE")),
        change(&rsa, "e", json!("AQAC")),
        change(&rsa, "e", json!("AQAAAAE")),
        change(&ec, "crv", json!("P-384")),
        change(&ec, "crv", json!("secp256k1")),
        change(&ec, "x", json!(short)),
        change(&ec, "y", json!(URL_SAFE_NO_PAD.encode([1; 32]))),
        change(&ed, "crv", json!("X25519")),
        change(&ed, "x", json!(short)),
        change(&ed, "x", json!(URL_SAFE_NO_PAD.encode([0xff; 33]))),
    ];
    for key in &ignored {
        let set = json!({"keys": [key]}).to_string();
        let result = JwkSet::parse(set.as_bytes());
        assert!(matches!(result, Err(JwkSetError::NoKeys)), "{key}");
    }
    let mut all = ignored.to_vec();
    for (name, value) in [
        ("use", json!("sig")),
        ("key_ops", json!(["verify"])),
        ("alg", json!("Ed25519")),
        ("alg", json!(null)),
        ("other", json!({})),
    ] {
        all.push(change(&ed, name, value));
    }
    // Leading zero bytes of a number have no effect.
    all.push(change(&rsa, "e", json!("AAABAAE")));
    assert_eq!(key_set(&all).len(), 6);
    let token = rsa.sign(Some("k"), &claims(&json!({})));
    assert_eq!(verify_with(key_set(&all[all.len() - 1..]), &token), Ok(()));
}

#[test]
fn document_is_an_object_with_keys() {
    for wrong in ["", "{}", "[]", r#"{"keys":{}}"#, r#"{"keys":null}"#, "x", r#"{"keys":[}"#] {
        let result = JwkSet::parse(wrong.as_bytes());
        assert!(matches!(result, Err(JwkSetError::Json(_))), "{wrong}");
    }
    assert!(matches!(JwkSet::parse(br#"{"keys":[]}"#), Err(JwkSetError::NoKeys)));
    let long = format!(r#"{{"keys":[{}]}}"#, " ".repeat(1_024 * 1_024));
    assert!(matches!(JwkSet::parse(long.as_bytes()), Err(JwkSetError::TooLong)));
}
