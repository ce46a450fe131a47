//! Attacks on the signature and the header of a token.

use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::DecodingKey;

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

/// Returns a DER element (X.690) with contents of fewer than 64 KiB.
fn der(tag: u8, contents: &[&[u8]]) -> Vec<u8> {
    let content = contents.concat();
    let length = u16::try_from(content.len()).expect("a short element").to_be_bytes();
    let head = match length {
        [0, short @ ..=127] => vec![tag, short],
        [0, one] => vec![tag, 0x81, one],
        [high, low] => vec![tag, 0x82, high, low],
    };
    [head, content].concat()
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// Returns a public RSA key in the forms of RFC 8017, appendix A.1.1, and RFC 5280, section 4.1,
/// each as DER, and as PEM with and without the last line feed.
fn published_forms(modulus: &[u8], exponent: &[u8]) -> Vec<Vec<u8>> {
    const RSA_ENCRYPTION: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
    let key = der(0x30, &[&der(0x02, &[&[0], modulus]), &der(0x02, &[exponent])]);
    let info = der(0x30, &[&der(0x30, &[RSA_ENCRYPTION]), &der(0x03, &[&[0], &key])]);
    let texts = [pem("RSA PUBLIC KEY", &key), pem("PUBLIC KEY", &info)];
    let trimmed = texts.iter().map(|text| text.trim_end().into());
    [key, info]
        .into_iter()
        .chain(trimmed)
        .chain(texts.iter().map(|text| text.clone().into()))
        .collect()
}

/// The public key is known to attackers, in every form in which it is published.
#[test]
fn public_key_is_not_used_as_a_shared_secret() {
    let rsa = KeyPair::rsa();
    let jwk = rsa.to_jwk(Some("k"));
    let modulus = jwk["n"].as_str().expect("a modulus").to_owned();
    let raw = URL_SAFE_NO_PAD.decode(&modulus).expect("base64");
    let mut forms = published_forms(&raw, &[1, 0, 1]);
    // The forms are those of this key.
    let token = rsa.sign(None, &claims(&json!({})));
    let (message, signature) = token.rsplit_once('.').expect("a signature");
    let key = DecodingKey::from_rsa_der(&forms[0]);
    let verified =
        jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key, Algorithm::RS256);
    assert_eq!(verified.ok(), Some(true));
    forms.extend([
        jwk.to_string().into_bytes(),
        json!({"keys": [jwk]}).to_string().into_bytes(),
        modulus.into_bytes(),
        raw,
    ]);
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
