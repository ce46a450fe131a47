//! API keys.

use std::fmt;

use mayfly_core::{KeyHash, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{names::Names, rate::RateText, scope::Scopes};

/// The beginning of every generated key, by which secret scanners recognize keys.
const MARKER: &str = "mf_";
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ID_CHARS: usize = 12;
/// 43 base-62 digits have 256 bits.
const SECRET_CHARS: usize = 43;

/// Returns whether a text is a key because of its beginning, whatever follows.
#[must_use]
pub fn is_key_text(text: &str) -> bool {
    text.starts_with(MARKER)
}

/// The public part of a key `mf_<id>_<secret>`, which identifies the key in lists and logs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct KeyId(Box<str>);

impl KeyId {
    /// The rule, worded to follow the field's name.
    pub const RULE: &str = "must be 12 characters of A-Z a-z 0-9";

    /// Validates an ID. The error is the violated rule.
    pub fn parse(text: impl Into<String>) -> Result<Self, &'static str> {
        let text = text.into();
        if is_base_62(&text, ID_CHARS) { Ok(Self(text.into())) } else { Err(Self::RULE) }
    }

    /// Returns the ID in the text of a key. Returns `None` for a key of another form, such as a key
    /// of the visitor source.
    #[must_use]
    pub fn find(key: &str) -> Option<Self> {
        let (id, secret) = key.strip_prefix(MARKER)?.split_once('_')?;
        let is_key = is_base_62(id, ID_CHARS) && is_base_62(secret, SECRET_CHARS);
        is_key.then(|| Self(id.into()))
    }

    /// Returns the ID as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for KeyId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        Self::parse(text)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn is_base_62(text: &str, chars: usize) -> bool {
    text.len() == chars && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The complete text of a generated key, `mf_<id>_<secret>`. It is shown once and never stored.
#[derive(Debug, Clone)]
pub struct KeySecret(SecretString);

impl KeySecret {
    /// Generates a key with the random number generator of the operating system.
    ///
    /// # Errors
    ///
    /// The operating system returned no random bytes.
    pub fn generate() -> Result<Self, getrandom::Error> {
        Self::generate_for(&KeyId(random_digits(ID_CHARS)?.into()))
    }

    /// Generates a key with the public part of an existing key, for its rotation.
    ///
    /// # Errors
    ///
    /// The operating system returned no random bytes.
    pub fn generate_for(id: &KeyId) -> Result<Self, getrandom::Error> {
        let secret = SecretString::from(random_digits(SECRET_CHARS)?);
        Ok(Self(format!("{MARKER}{id}_{}", secret.expose_secret()).into()))
    }

    /// Returns the complete text.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Returns the public part.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId(self.expose()[MARKER.len()..MARKER.len() + ID_CHARS].into())
    }

    /// Returns the digest by which the key is stored and found.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        KeyHash::from_key(self.expose())
    }
}

fn random_digits(count: usize) -> Result<String, getrandom::Error> {
    let mut digits = String::with_capacity(count);
    let mut bytes = [0_u8; 64];
    while digits.len() < count {
        getrandom::fill(&mut bytes)?;
        let missing = count - digits.len();
        digits.extend(bytes.iter().filter_map(|byte| to_digit(*byte)).take(missing));
    }
    Ok(digits)
}

/// Maps a byte to a base-62 digit. Rejects the bytes that would bias the distribution.
fn to_digit(byte: u8) -> Option<char> {
    let is_unbiased = usize::from(byte) < 256 - 256 % DIGITS.len();
    is_unbiased.then(|| char::from(DIGITS[usize::from(byte) % DIGITS.len()]))
}

/// An API key, with the data that is needed to authorize requests, but without its secret. Stored
/// in Redis as JSON. Unknown fields are an error, because a later version of Mayfly may restrict
/// the key by them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// The ID of the key in Postgres. Rotation does not change it.
    pub id: Uuid,
    /// The scopes.
    pub scopes: Scopes,
    /// The channels that the key grants access to.
    #[serde(default = "Names::all", skip_serializing_if = "is_unrestricted")]
    pub channels: Names,
    /// The usernames that the key grants access to.
    #[serde(default = "Names::all", skip_serializing_if = "is_unrestricted")]
    pub usernames: Names,
    /// The hosts that the key grants access to.
    #[serde(
        default = "Names::all",
        skip_serializing_if = "is_unrestricted",
        deserialize_with = "Names::deserialize_key_hosts"
    )]
    pub hosts: Names,
    /// The rate limits, instead of the configured ones.
    #[serde(default, skip_serializing_if = "KeyLimits::is_unlimited")]
    pub limits: KeyLimits,
    /// The expiry time. For the previous secret of a rotated key, the end of the overlap if that is
    /// earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Whether the key has been revoked.
    pub is_revoked: bool,
}

impl Key {
    /// The newest format of keys that this version of Mayfly can check. A version that adds a
    /// restriction increases this number. Postgres stores for each key the format that its
    /// restrictions require (`api_keys.requires`). A key that requires a higher one is refused,
    /// because this version would ignore some of its restrictions.
    pub const FORMAT: i32 = 1;

    /// Returns whether the key grants access only to hosts, because it covers neither a channel nor
    /// a username. The keys that the visitor source has accepted are of this kind. Any customer of
    /// the source can own such a key, so it must not read data of this installation.
    pub(crate) fn is_for_hosts_only(&self) -> bool {
        self.channels.is_none() && self.usernames.is_none()
    }
}

fn is_unrestricted(names: &Names) -> bool {
    names.patterns().is_none()
}

/// The rate limits of a key. A kind of item without a rate is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyLimits {
    /// Published messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<RateText>,
    /// Reported plays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plays: Option<RateText>,
    /// Reported visits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visits: Option<RateText>,
}

impl KeyLimits {
    /// Returns whether nothing is limited.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::Scope;

    #[test]
    fn generated_key_has_a_marker_an_id_and_256_random_bits() {
        let (secret, other) =
            (KeySecret::generate().expect("a key"), KeySecret::generate().expect("a key"));
        let text = secret.expose();
        assert_eq!(text.len(), 3 + 12 + 1 + 43);
        assert!(is_key_text(text));
        assert_eq!(KeyId::find(text), Some(secret.id()));
        assert_eq!(text.split('_').nth(1), Some(secret.id().as_str()));
        assert_ne!(text, other.expose());
        assert_ne!(secret.id(), other.id());
        assert_eq!(secret.hash(), KeyHash::from_key(text));
        let rotated = KeySecret::generate_for(&secret.id()).expect("a key");
        assert_eq!(rotated.id(), secret.id());
        assert_ne!(rotated.expose(), text);
        assert!((f64::from(62_u32)).log2() * 43.0 > 256.0);
    }

    #[test]
    fn digits_are_uniformly_distributed() {
        for digit in DIGITS {
            let bytes = (0..=255_u8).filter(|byte| to_digit(*byte) == Some(char::from(*digit)));
            assert_eq!(bytes.count(), 4);
        }
    }

    #[test]
    fn secret_is_redacted() {
        let secret = KeySecret::generate().expect("a key");
        let shown = format!("{secret:?}");
        let random = secret.expose().rsplit('_').next().expect("a secret");
        assert!(!shown.contains(random) && !shown.contains(secret.id().as_str()), "{shown}");
    }

    #[test]
    fn id_is_found_only_in_the_generated_form() {
        let text = format!("mf_{}_{}", "a".repeat(12), "b".repeat(43));
        assert_eq!(KeyId::find(&text).map(|id| id.to_string()), Some("a".repeat(12)));
        let old = format!("mf_{}", "a".repeat(32));
        for other in [&text[1..], &text[..text.len() - 1], &old, "mf_", "", "mf_a_b"] {
            assert_eq!(KeyId::find(other), None, "{other:?}");
        }
        assert!(is_key_text(&old) && !is_key_text("MF_a") && !is_key_text("a.b.c"));
        assert_eq!(KeyId::parse("a-b"), Err(KeyId::RULE));
    }

    fn key() -> Key {
        Key {
            id: Uuid::from_u128(1),
            scopes: Scopes::from_iter([Scope::Read]),
            channels: Names::All,
            usernames: Names::All,
            hosts: Names::All,
            limits: KeyLimits::default(),
            expires_at: None,
            is_revoked: false,
        }
    }

    #[test]
    fn json_is_stable() {
        let least = key();
        let json =
            r#"{"id":"00000000-0000-0000-0000-000000000001","scopes":["read"],"is_revoked":false}"#;
        assert_eq!(serde_json::to_string(&least).expect("it serializes"), json);
        assert_eq!(serde_json::from_str::<Key>(json).expect("it parses"), least);

        let most = Key {
            channels: Names::parse(["chat.*"]).expect("patterns"),
            usernames: Names::none(),
            hosts: Names::parse_key_hosts((100..200).map(|host| host.to_string()))
                .expect("patterns"),
            limits: KeyLimits {
                messages: RateText::parse("100/day").ok(),
                plays: None,
                visits: RateText::parse("1/second").ok(),
            },
            expires_at: Some(Timestamp::from_millis(0)),
            is_revoked: true,
            ..least
        };
        let json = serde_json::to_string(&most).expect("it serializes");
        let (start, end) = (json.split("\"100\"").next(), json.rsplit("\"199\"").next());
        assert_eq!(
            start,
            Some(
                r#"{"id":"00000000-0000-0000-0000-000000000001","scopes":["read"],"channels":["chat.*"],"usernames":[],"hosts":["#
            )
        );
        assert_eq!(
            end,
            Some(
                r#"],"limits":{"messages":"100/day","visits":"1/second"},"expires_at":"1970-01-01T00:00:00.000Z","is_revoked":true}"#
            )
        );
        assert_eq!(serde_json::from_str::<Key>(&json).expect("it parses"), most);
    }

    /// A restriction that cannot be read must not become a missing restriction.
    #[test]
    fn invalid_restriction_is_an_error() {
        const ID: &str = r#""id":"00000000-0000-0000-0000-000000000001""#;
        let parse = |rest: &str| serde_json::from_str::<Key>(&format!("{{{ID},{rest}}}"));
        let valid = r#""scopes":["read"],"is_revoked":false"#;
        assert!(parse(valid).is_ok());
        for wrong in [
            r#""channels":null"#,
            r#""channels":"a""#,
            r#""usernames":[""]"#,
            r#""hosts":null"#,
            r#""limits":{"messages":"many"}"#,
            r#""limits":{"takes":"1/day"}"#,
            r#""expires_at":5"#,
            r#""networks":["192.0.2.0/24"]"#,
        ] {
            assert!(parse(&format!("{valid},{wrong}")).is_err(), "{wrong}");
        }
        for incomplete in [
            r#""scopes":["read"]"#,
            r#""is_revoked":false"#,
            r#""scopes":["read"],"is_revoked":null"#,
            r#""scopes":null,"is_revoked":false"#,
        ] {
            assert!(parse(incomplete).is_err(), "{incomplete}");
        }
    }
}
