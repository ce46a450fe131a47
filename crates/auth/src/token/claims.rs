//! The parts of a token: parsed without being trusted, then checked.

use std::{borrow::Cow, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use mayfly_core::Username;
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::value::RawValue;

use super::{LEEWAY_S, Token, TokenError, TokenRights};

/// The last second of the year 9999. A larger time is a mistake, usually in milliseconds.
const TIME_S_MAX: i64 = 253_402_300_799;
/// Maximum length of `jti`, in characters.
const ID_CHARS_MAX: usize = 128;

/// A token, divided into its parts (RFC 7515, section 7.1).
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    /// The header and the payload: the bytes that are signed.
    pub message: &'a str,
    pub header: &'a str,
    pub payload: &'a str,
    pub signature: &'a str,
}

impl<'a> Parts<'a> {
    pub(super) fn split(token: &'a str) -> Result<Self, TokenError> {
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
        if payload.contains('.') {
            return Err(TokenError::Malformed);
        }
        Ok(Self { message, header, payload, signature })
    }
}

/// Decodes a part that contains a JSON object.
pub(super) fn decode_object(part: &str) -> Result<Vec<u8>, TokenError> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    // The derived parsers also accept arrays.
    if json.trim_ascii_start().first() == Some(&b'{') {
        Ok(json)
    } else {
        Err(TokenError::Malformed)
    }
}

/// The header of a token. Other parameters have no effect: keys in the token itself are not used.
#[derive(Deserialize)]
pub(super) struct Header<'a> {
    #[serde(borrow)]
    pub alg: Cow<'a, str>,
    #[serde(borrow)]
    pub kid: Option<Cow<'a, str>>,
    /// Whether the header names critical extensions. There are no supported extensions.
    #[serde(default, rename = "crit", deserialize_with = "is_present")]
    pub has_critical_extensions: bool,
    /// Whether the header states how the payload is encoded (RFC 7797).
    #[serde(default, rename = "b64", deserialize_with = "is_present")]
    pub has_payload_encoding: bool,
}

fn is_present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl<'a> Header<'a> {
    pub(super) fn parse(json: &'a [u8]) -> Result<Self, TokenError> {
        let header: Self = serde_json::from_slice(json).map_err(|_| TokenError::Malformed)?;
        if header.has_critical_extensions || header.has_payload_encoding {
            return Err(TokenError::Malformed);
        }
        Ok(header)
    }
}

/// The claims of a token. Each one is parsed separately, so that an error can name it. `null` is
/// treated as absent.
#[derive(Deserialize)]
pub(super) struct Claims<'a> {
    #[serde(borrow)]
    sub: Option<&'a RawValue>,
    #[serde(borrow)]
    jti: Option<&'a RawValue>,
    #[serde(borrow)]
    exp: Option<&'a RawValue>,
    #[serde(borrow)]
    nbf: Option<&'a RawValue>,
    #[serde(borrow)]
    iat: Option<&'a RawValue>,
    #[serde(borrow)]
    iss: Option<&'a RawValue>,
    #[serde(borrow)]
    aud: Option<&'a RawValue>,
    #[serde(borrow)]
    mayfly: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl<'a> Claims<'a> {
    pub(super) fn parse(json: &'a [u8]) -> Result<Self, TokenError> {
        serde_json::from_slice(json).map_err(|_| TokenError::Malformed)
    }

    /// Checks that the token is valid at a time.
    pub(super) fn check_time(&self, now_s: i64) -> Result<(), TokenError> {
        let expires_at = self.expires_at()?;
        if now_s >= expires_at.saturating_add(LEEWAY_S) {
            return Err(TokenError::Expired);
        }
        let latest = now_s.saturating_add(LEEWAY_S);
        let not_before = parse_time("nbf", self.nbf)?;
        let issued_at = parse_time("iat", self.iat)?;
        if not_before.into_iter().chain(issued_at).any(|time| time > latest) {
            return Err(TokenError::NotYetValid);
        }
        Ok(())
    }

    /// Checks that the issuer is one of the accepted ones. An empty list accepts every issuer.
    pub(super) fn check_issuer(&self, accepted: &[String]) -> Result<(), TokenError> {
        if accepted.is_empty() {
            return Ok(());
        }
        let issuer = parse_claim::<String>("iss", self.iss)?.ok_or(TokenError::Issuer)?;
        if accepted.contains(&issuer) { Ok(()) } else { Err(TokenError::Issuer) }
    }

    /// Checks that one of the audiences is an accepted one. An empty list accepts every audience.
    pub(super) fn check_audience(&self, accepted: &[String]) -> Result<(), TokenError> {
        if accepted.is_empty() {
            return Ok(());
        }
        let is_accepted = match parse_claim("aud", self.aud)?.ok_or(TokenError::Audience)? {
            Audience::One(audience) => accepted.contains(&audience),
            Audience::Several(audiences) => audiences.iter().any(|one| accepted.contains(one)),
        };
        if is_accepted { Ok(()) } else { Err(TokenError::Audience) }
    }

    /// Returns the token with these claims.
    pub(super) fn to_token(&self) -> Result<Token, TokenError> {
        let rights = match self.mayfly {
            Some(rights) if !rights.get().starts_with('{') => {
                return Err(TokenError::Claim("mayfly"));
            }
            rights => parse_claim::<TokenRights>("mayfly", rights)?.unwrap_or_default(),
        };
        Ok(Token {
            subject: parse_claim::<Username>("sub", self.sub)?.ok_or(TokenError::Claim("sub"))?,
            id: parse_claim::<String>("jti", self.jti)?.map(parse_id).transpose()?,
            issued_at: parse_time("iat", self.iat)?,
            expires_at: self.expires_at()?,
            rights,
        })
    }

    fn expires_at(&self) -> Result<i64, TokenError> {
        parse_time("exp", self.exp)?.ok_or(TokenError::Claim("exp"))
    }
}

fn parse_claim<'a, T: Deserialize<'a>>(
    name: &'static str,
    json: Option<&'a RawValue>,
) -> Result<Option<T>, TokenError> {
    let parse = |json: &'a RawValue| serde_json::from_str(json.get());
    json.map(parse).transpose().map_err(|_| TokenError::Claim(name))
}

fn parse_id(id: String) -> Result<Box<str>, TokenError> {
    let is_valid =
        !id.is_empty() && id.chars().count() <= ID_CHARS_MAX && !id.chars().any(char::is_control);
    if is_valid { Ok(id.into()) } else { Err(TokenError::Claim("jti")) }
}

/// Parses seconds since the Unix epoch. A fraction is dropped.
fn parse_time(name: &'static str, json: Option<&RawValue>) -> Result<Option<i64>, TokenError> {
    let Some(json) = json else { return Ok(None) };
    // A JSON number is a Rust number. Other JSON begins with a character that no Rust number has,
    // except for the words that `f64` accepts, which are not JSON.
    let time = json.get().parse().ok().or_else(|| {
        let duration = Duration::try_from_secs_f64(json.get().parse().ok()?).ok()?;
        i64::try_from(duration.as_secs()).ok()
    });
    time.filter(|time| (0..=TIME_S_MAX).contains(time)).map(Some).ok_or(TokenError::Claim(name))
}
