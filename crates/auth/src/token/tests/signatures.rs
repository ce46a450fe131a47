//! Attacks on the signature and the header of a token.

use super::*;

#[test]
fn unsigned_token_is_rejected() {
    let payload = encode(&claims(&json!({})).to_string());
    for algorithm in ["none", "None", "NONE", "nOnE", "", "HS256 ", "hs256"] {
        let header = encode(&json!({"alg": algorithm}).to_string());
        for signature in ["", "AAAA"] {
            let token = format!("{header}.{payload}.{signature}");
            assert_eq!(verify(&token), Err(TokenError::Algorithm), "{algorithm}");
        }
    }
    for header in [json!({}), json!({"alg": null}), json!({"alg": 5}), json!(["HS256"])] {
        let token = format!("{}.{payload}.", encode(&header.to_string()));
        assert_eq!(verify(&token), Err(TokenError::Malformed), "{header}");
    }
    let header = encode(r#"{"alg":"HS256"}"#);
    assert_eq!(verify(&format!("{header}.{payload}.")), Err(TokenError::Signature));
}

/// The public key is known to attackers, in every form in which it is published.
#[test]
fn public_key_is_not_used_as_a_shared_secret() {
    let rsa = KeyPair::rsa();
    let jwk = rsa.to_jwk(Some("k"));
    let modulus = jwk["n"].as_str().expect("a modulus").to_owned();
    let raw = URL_SAFE_NO_PAD.decode(&modulus).expect("base64");
    let forms = [
        jwk.to_string().into_bytes(),
        json!({"keys": [jwk]}).to_string().into_bytes(),
        modulus.into_bytes(),
        raw,
    ];
    let with_keys = TokenSettings { jwks: Some(key_set(&[jwk])), ..TokenSettings::default() };
    let with_both = TokenSettings { secrets: settings().secrets, ..with_keys.clone() };
    for form in forms {
        let key = EncodingKey::from_secret(&form).expect("a secret");
        let attacker = KeyPair { algorithm: Algorithm::HS256, key };
        for id in [None, Some("k")] {
            let token = attacker.sign(id, &claims(&json!({})));
            let verify = |settings: &TokenSettings| {
                TokenVerifier::new(settings.clone()).verify(&token, NOW_S)
            };
            assert_eq!(verify(&with_keys), Err(TokenError::Algorithm));
            assert_eq!(verify(&with_both), Err(TokenError::Signature));
        }
    }
}

#[test]
fn other_algorithms_are_rejected_even_if_the_signature_is_valid() {
    let both = TokenSettings { jwks: Some(key_set(&[KeyPair::rsa().to_jwk(None)])), ..settings() };
    let verifier = TokenVerifier::new(both);
    for (pair, algorithms) in [
        (KeyPair::secret(SECRET), &[Algorithm::HS384, Algorithm::HS512][..]),
        (KeyPair::rsa(), &[Algorithm::RS384, Algorithm::RS512, Algorithm::PS256]),
    ] {
        for &algorithm in algorithms {
            let pair = KeyPair { algorithm, key: pair.key.clone() };
            let token = pair.sign(None, &claims(&json!({})));
            assert_eq!(verifier.verify(&token, NOW_S), Err(TokenError::Algorithm));
        }
    }
}

#[test]
fn critical_and_encoding_extensions_are_rejected() {
    let pair = KeyPair::secret(SECRET);
    let payload = claims(&json!({})).to_string();
    for extension in [
        json!({"crit": ["exp"]}),
        json!({"crit": []}),
        json!({"crit": null}),
        json!({"crit": ["b64"], "b64": true}),
        json!({"b64": false}),
        json!({"b64": true}),
    ] {
        let mut header = pair.header(None);
        for (name, value) in extension.as_object().expect("an object") {
            header[name] = value.clone();
        }
        let token = pair.sign_parts(&header.to_string(), &payload);
        assert_eq!(verify(&token), Err(TokenError::Malformed), "{header}");
    }
}

#[test]
fn key_in_the_header_is_not_used() {
    let attacker = KeyPair::rsa();
    let settings =
        TokenSettings { jwks: Some(key_set(&[KeyPair::ec().to_jwk(Some("k"))])), ..settings() };
    let verifier = TokenVerifier::new(settings);
    let payload = claims(&json!({})).to_string();
    let header = json!({
        "alg": "RS256", "kid": "other", "jwk": attacker.to_jwk(Some("other")),
        "jku": "https://example.org/jwks.json", "x5u": "https://example.org/cert",
    });
    let token = attacker.sign_parts(&header.to_string(), &payload);
    assert_eq!(verifier.verify(&token, NOW_S), Err(TokenError::UnknownKey));
}

#[test]
fn changed_token_is_rejected() {
    let token = KeyPair::secret(SECRET).sign(None, &claims(&json!({})));
    assert!(verify(&token).is_ok());
    for index in 0..token.len() {
        for other in ["A", "Q", "_", ".", "=", " ", ""] {
            let changed = format!("{}{other}{}", &token[..index], &token[index + 1..]);
            assert!(changed == token || verify(&changed).is_err(), "{index} {other}");
        }
    }
    for extra in ["", ".", "=", "A", "\n", ".a"] {
        assert_eq!(verify(&format!("{token}{extra}")).is_ok(), extra.is_empty(), "{extra:?}");
        assert!(extra.is_empty() || verify(&format!("{extra}{token}")).is_err(), "{extra:?}");
    }
}

#[test]
fn text_of_another_form_is_malformed() {
    for wrong in
        ["", ".", "..", "a", "a.b", "a.b.c", "a.b.c.d", "....", "mf_abc", "e30.e30", "ü.ü.ü"]
    {
        assert_eq!(verify(wrong), Err(TokenError::Malformed), "{wrong:?}");
    }
    // Standard base64, padding, and bits after the last byte.
    let payload = encode(&claims(&json!({})).to_string());
    for header in ["eyJhbGciOiJIUzI1NiJ9==", "eyJhbGciOiJIUzI1NiJ/", "eyJhbGciOiJIUzI1NiJ9Ch"] {
        assert_eq!(verify(&format!("{header}.{payload}.AA")), Err(TokenError::Malformed));
    }
}
