//! The file with the public keys that verify tokens, a JWK Set (RFC 7517).

use std::{fmt, ops::RangeInclusive, sync::Arc};

use serde::{Deserializer, de::Error};
use serde_json::{Map, Value};

use super::read_bounded;
use crate::settings::values::parse_scalar;

const ALLOWED: &str = "empty, or the path of a file with a JWK Set that contains a public key for \
     RS256 (2048 to 8192 bits), ES256 or EdDSA (Ed25519)";
/// The length of the modulus of an RSA key with 2048 to 8192 bits. A leading zero byte is allowed.
const RSA_CHARS: RangeInclusive<usize> = 342..=1367;

/// A file with public keys that verify tokens. The content was read and checked when the
/// configuration was loaded.
#[derive(Clone)]
pub struct JwksFile {
    path: Arc<str>,
    content: Arc<[u8]>,
}

impl JwksFile {
    /// The maximum size of the file in bytes.
    pub const BYTES_MAX: u64 = 1024 * 1024;

    /// Returns the path of the file.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the content of the file when the configuration was loaded.
    pub fn content(&self) -> &[u8] {
        &self.content
    }
}

impl fmt::Debug for JwksFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JwksFile").field(&self.path).finish()
    }
}

/// Parses the path of a file with a JWK Set, and reads the file. Empty text means no file.
pub(super) fn file<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<JwksFile>, D::Error> {
    let path = parse_scalar(deserializer, ALLOWED, |value| value.as_text().map(str::to_owned))?;
    if path.is_empty() {
        return Ok(None);
    }
    let content = read_bounded(&path, JwksFile::BYTES_MAX)
        .map_err(|error| D::Error::custom(format!("{ALLOWED}; it cannot be read: {error}")))?;
    check(&content).map_err(|rule| D::Error::custom(format!("{ALLOWED}; {rule}")))?;
    Ok(Some(JwksFile { path: path.into(), content: content.into() }))
}

/// Checks that `content` is a JWK Set with at least one usable key. Other keys are ignored, because
/// an issuer may publish keys for other purposes in the same set.
fn check(content: &[u8]) -> Result<(), &'static str> {
    let set: Value = serde_json::from_slice(content).map_err(|_| "the file is not JSON")?;
    let keys = set.get("keys").and_then(Value::as_array).ok_or("the file has no array `keys`")?;
    let has_usable = keys.iter().filter_map(Value::as_object).any(is_usable);
    if has_usable { Ok(()) } else { Err("the file contains no such key") }
}

/// Returns whether a key verifies signatures of a supported algorithm. The parameters have the
/// lengths of base64url text without padding (RFC 7518, section 6, and RFC 8037, section 2).
fn is_usable(key: &Map<String, Value>) -> bool {
    let text = |name: &str| key.get(name).and_then(Value::as_str).unwrap_or_default();
    let is_number = |name: &str, lengths: RangeInclusive<usize>| {
        let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        lengths.contains(&text(name).len()) && text(name).bytes().all(is_digit)
    };
    let operations = key.get("key_ops").and_then(Value::as_array);
    let is_for_signatures = matches!(text("use"), "" | "sig")
        && operations.is_none_or(|all| all.iter().any(|one| one.as_str() == Some("verify")));
    let is_complete = match (text("kty"), text("crv"), text("alg")) {
        ("RSA", _, "" | "RS256") => is_number("n", RSA_CHARS) && is_number("e", 1..=16),
        ("EC", "P-256", "" | "ES256") => is_number("x", 43..=43) && is_number("y", 43..=43),
        ("OKP", "Ed25519", "" | "EdDSA" | "Ed25519") => is_number("x", 43..=43),
        _ => false,
    };
    is_for_signatures && is_complete
}

#[cfg(test)]
mod tests {
    use super::check;

    /// Returns a set with one key. Replaces `N` by a number of 2048 bits, and `X` by one of 256
    /// bits.
    fn set(key: &str) -> String {
        let key = key.replace("\"N\"", &format!("\"{}\"", "sX-_".repeat(86)));
        let key = key.replace("\"X\"", &format!("\"{}\"", "x".repeat(43)));
        format!(r#"{{"keys":[{{"kty":"oct","k":"c2VjcmV0"}},{key}]}}"#)
    }

    #[test]
    fn set_contains_a_usable_key() {
        for key in [
            r#"{"kty":"RSA","kid":"1","use":"sig","alg":"RS256","n":"N","e":"AQAB"}"#,
            r#"{"kty":"RSA","key_ops":["verify"],"n":"N","e":"AQAB"}"#,
            r#"{"kty":"EC","crv":"P-256","x":"X","y":"X"}"#,
            r#"{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","x":"X"}"#,
        ] {
            assert_eq!(check(set(key).as_bytes()), Ok(()), "{key}");
        }
    }

    #[test]
    fn set_without_a_usable_key_is_rejected() {
        for (text, rule) in [
            ("", "not JSON"),
            ("[]", "no array"),
            (r#"{"kty":"RSA"}"#, "no array"),
            (r#"{"keys":{}}"#, "no array"),
            (r#"{"keys":[]}"#, "no such key"),
            (r#"{"keys":[1]}"#, "no such key"),
        ] {
            assert!(check(text.as_bytes()).is_err_and(|error| error.contains(rule)), "{text}");
        }
        for key in [
            "1",
            r#"{"kty":"RSA","n":"N"}"#,
            r#"{"kty":"RSA","n":"sXch","e":"AQAB"}"#,
            r#"{"kty":"RSA","n":"N","e":"A AB"}"#,
            r#"{"kty":"RSA","use":"enc","n":"N","e":"AQAB"}"#,
            r#"{"kty":"RSA","alg":"PS256","n":"N","e":"AQAB"}"#,
            r#"{"kty":"RSA","key_ops":["encrypt"],"n":"N","e":"AQAB"}"#,
            r#"{"kty":"EC","crv":"P-384","x":"X","y":"X"}"#,
            r#"{"kty":"EC","crv":"P-256","x":"X"}"#,
            r#"{"kty":"OKP","crv":"X25519","x":"X"}"#,
        ] {
            let error = check(set(key).as_bytes()).expect_err(key);
            assert!(error.contains("no such key"), "{key}: {error}");
        }
    }
}
