//! Tests of tokens, with keys that are generated where possible. The RSA key exists only for these
//! tests.

mod claims;
mod keys;
mod signatures;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, jwk::Jwk};
use serde_json::{Value, json};

use super::{
    JwkSet, LEEWAY_S, NewToken, TOKEN_BYTES_MAX, Token, TokenError, TokenRights, TokenSecret,
    TokenSettings, TokenVerifier, sign,
};

const NOW_S: i64 = 1_795_201_620;
const SECRET: &str = "a secret that has at least 32 bytes";

/// A key pair.
struct KeyPair {
    algorithm: Algorithm,
    key: EncodingKey,
}

impl KeyPair {
    fn secret(text: &str) -> Self {
        let key = EncodingKey::from_secret(text.as_bytes()).expect("a secret");
        Self { algorithm: Algorithm::HS256, key }
    }

    fn rsa() -> Self {
        let key = EncodingKey::from_rsa_der(include_bytes!("rsa_private_key.der"));
        Self { algorithm: Algorithm::RS256, key }
    }

    /// Generates a key on P-256, in the form of RFC 5958.
    fn ec() -> Self {
        let prefix = *b"\x30\x41\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\
            \x2a\x86\x48\xce\x3d\x03\x01\x07\x04\x27\x30\x25\x02\x01\x01\x04\x20";
        let key = EncodingKey::from_ec_der(&[&prefix[..], &random_bytes()].concat());
        Self { algorithm: Algorithm::ES256, key }
    }

    /// Generates a key on Ed25519, in the form of RFC 8410.
    fn ed() -> Self {
        let prefix = *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
        let key = EncodingKey::from_ed_der(&[&prefix[..], &random_bytes()].concat());
        Self { algorithm: Algorithm::EdDSA, key }
    }

    /// Returns the public key for a key set.
    fn to_jwk(&self, id: Option<&str>) -> Value {
        let jwk = Jwk::from_encoding_key(&self.key, self.algorithm).expect("a public key");
        let mut jwk = serde_json::to_value(jwk).expect("it serializes");
        jwk["kid"] = json!(id);
        jwk
    }

    fn header(&self, id: Option<&str>) -> Value {
        json!({"typ": "JWT", "alg": self.algorithm, "kid": id})
    }

    fn sign(&self, id: Option<&str>, claims: &Value) -> String {
        self.sign_parts(&self.header(id).to_string(), &claims.to_string())
    }

    fn sign_parts(&self, header: &str, payload: &str) -> String {
        let message = format!("{}.{}", encode(header), encode(payload));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, self.algorithm);
        format!("{message}.{}", signature.expect("a signature"))
    }
}

fn random_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("random bytes");
    // The scalar must be less than the order of the curve.
    bytes[0] &= 0x7f;
    bytes
}

fn encode(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// Returns the claims of a valid token with the given ones added or replaced. `null` removes one.
fn claims(changes: &Value) -> Value {
    let mut claims = json!({"sub": "fred", "exp": NOW_S + 60});
    for (name, value) in changes.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    claims.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
    claims
}

fn key_set(keys: &[Value]) -> JwkSet {
    JwkSet::parse(json!({"keys": keys}).to_string().as_bytes()).expect("a key set")
}

fn settings() -> TokenSettings {
    let secrets = vec![TokenSecret::parse(SECRET).expect("a secret")];
    TokenSettings { secrets, ..TokenSettings::default() }
}

fn verify(token: &str) -> Result<Token, TokenError> {
    TokenVerifier::new(settings()).verify(token, NOW_S)
}

/// Verifies a token that is signed with the secret and has these claims.
fn verify_claims(changes: &Value) -> Result<Token, TokenError> {
    verify(&KeyPair::secret(SECRET).sign(None, &claims(changes)))
}

#[test]
fn signed_token_is_verified() {
    let rights = TokenRights { inbox: true, plays: true, ..TokenRights::default() };
    let token = NewToken {
        subject: mayfly_core::Username::parse("fred").expect("a username"),
        id: Some("one".to_owned()),
        issued_at: NOW_S,
        expires_at: NOW_S + 60,
        issuer: Some("https://example.org".to_owned()),
        audience: None,
        rights: rights.clone(),
    };
    let secret = TokenSecret::parse(SECRET).expect("a secret");
    let text = sign(&token, &secret).expect("a token");
    let expected = Token {
        subject: token.subject.clone(),
        id: Some("one".into()),
        issued_at: Some(NOW_S),
        expires_at: NOW_S + 60,
        rights,
    };
    assert_eq!(verify(&text), Ok(expected));
    let payload = URL_SAFE_NO_PAD.decode(text.split('.').nth(1).expect("a payload"));
    assert_eq!(
        String::from_utf8(payload.expect("base64")).expect("text"),
        r#"{"sub":"fred","jti":"one","iat":1795201620,"exp":1795201680,"iss":"https://example.org","mayfly":{"inbox":true,"plays":true}}"#
    );

    for (wrong, error) in [
        (NewToken { id: Some(String::new()), ..token.clone() }, TokenError::Claim("jti")),
        (NewToken { expires_at: NOW_S * 1_000, ..token.clone() }, TokenError::Claim("exp")),
        (NewToken { issuer: Some("i".repeat(TOKEN_BYTES_MAX)), ..token }, TokenError::TooLong),
    ] {
        assert_eq!(sign(&wrong, &secret), Err(error));
    }
}

#[test]
fn every_secret_verifies() {
    let other = "another secret that has at least 32 bytes";
    let secrets = [SECRET, other].map(|text| TokenSecret::parse(text).expect("a secret")).into();
    let verifier = TokenVerifier::new(TokenSettings { secrets, ..TokenSettings::default() });
    for (secret, expected) in [(SECRET, Ok(())), (other, Ok(())), ("x", Err(TokenError::Signature))]
    {
        let token = KeyPair::secret(secret).sign(None, &claims(&json!({})));
        assert_eq!(verifier.verify(&token, NOW_S).map(drop), expected, "{secret}");
    }
}

#[test]
fn long_tokens_are_rejected_before_they_are_parsed() {
    assert_eq!(verify(&"a".repeat(64 * 1_024)), Err(TokenError::TooLong));
    let long = KeyPair::secret(SECRET).sign(None, &claims(&json!({"a": "a".repeat(48 * 1_024)})));
    assert!(long.len() > 64 * 1_024);
    assert_eq!(verify(&long), Err(TokenError::TooLong));

    let length_for = |chars: usize| {
        let token = KeyPair::secret(SECRET).sign(None, &claims(&json!({"a": "a".repeat(chars)})));
        (token.len(), verify(&token).err())
    };
    let lengths: Vec<_> = (5_900..6_150).map(length_for).collect();
    assert!(lengths.iter().any(|(length, _)| *length == TOKEN_BYTES_MAX));
    for (length, error) in lengths {
        let expected = (length > TOKEN_BYTES_MAX).then_some(TokenError::TooLong);
        assert_eq!(error, expected, "{length}");
    }
}
