//! Key sets (RFC 7517), with whose public keys tokens of other issuers are verified.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::TokenError;

/// The public keys of a key set that can verify tokens. The default is the empty set, for a set
/// that has not been loaded yet. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct JwkSet {
    keys: Arc<[PublicKey]>,
}

/// The error for an invalid key set.
#[derive(Debug, thiserror::Error)]
pub enum JwkSetError {
    /// The document is too long.
    #[error("the key set is longer than 1 MiB")]
    TooLong,
    /// The document is not a key set.
    #[error("the key set is not a JSON object with the array `keys`")]
    Json(#[source] serde_json::Error),
    /// No key can verify tokens.
    #[error("the key set contains no key for RS256 (at least 2048 bits), ES256 or EdDSA (Ed25519)")]
    NoKeys,
}

/// A public key.
#[derive(Debug)]
struct PublicKey {
    id: Option<Box<str>>,
    algorithm: Algorithm,
    key: DecodingKey,
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

/// The parameters of a key (RFC 7518, section 6; RFC 8037, section 2).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl JwkSet {
    const BYTES_MAX: usize = 1024 * 1_024;

    /// Parses a key set. Keys of other types and for other purposes are ignored.
    pub fn parse(json: &[u8]) -> Result<Self, JwkSetError> {
        if json.len() > Self::BYTES_MAX {
            return Err(JwkSetError::TooLong);
        }
        let document: Document<'_> = serde_json::from_slice(json).map_err(JwkSetError::Json)?;
        let keys: Arc<[_]> = document
            .keys
            .into_iter()
            .filter_map(|key| serde_json::from_str::<Jwk>(key.get()).ok()?.to_public_key())
            .collect();
        if keys.is_empty() { Err(JwkSetError::NoKeys) } else { Ok(Self { keys }) }
    }

    /// Returns the number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns whether the set contains no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns the keys that may have signed a token. A token without a key ID needs a set with
    /// exactly one key for its algorithm.
    pub(super) fn find(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
    ) -> Result<impl Iterator<Item = &DecodingKey>, TokenError> {
        let suits = move |key: &&PublicKey| {
            key.algorithm == algorithm && id.is_none_or(|id| key.id.as_deref() == Some(id))
        };
        let count = self.keys.iter().filter(suits).count();
        if count == 0 && self.keys.iter().any(|key| id.is_some() && key.id.as_deref() == id) {
            return Err(TokenError::Algorithm);
        }
        if count == 0 || (count > 1 && id.is_none()) {
            return Err(TokenError::UnknownKey);
        }
        Ok(self.keys.iter().filter(suits).map(|key| &key.key))
    }
}

impl Jwk {
    /// Returns the key if it verifies signatures of a supported algorithm.
    fn to_public_key(&self) -> Option<PublicKey> {
        let is_for_signatures = self.usage.as_deref().is_none_or(|usage| usage == "sig")
            && self.key_ops.as_ref().is_none_or(|all| all.iter().any(|one| one == "verify"));
        if !is_for_signatures {
            return None;
        }
        let (algorithm, names, key) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => (Algorithm::RS256, &["RS256"][..], self.to_rsa_key()?),
            ("EC", Some("P-256")) => (Algorithm::ES256, &["ES256"][..], self.to_ec_key()?),
            ("OKP", Some("Ed25519")) => {
                (Algorithm::EdDSA, &["EdDSA", "Ed25519"][..], self.to_ed_key()?)
            }
            _ => return None,
        };
        let is_algorithm = self.alg.as_deref().is_none_or(|alg| names.contains(&alg));
        // Building the verifier checks that the key is a point on the curve.
        let is_valid = jsonwebtoken::crypto::verify("", b"", &key, algorithm).is_ok();
        let id = self.kid.as_deref().map(Into::into);
        (is_algorithm && is_valid).then_some(PublicKey { id, algorithm, key })
    }

    /// The library checks the numbers only when it verifies a signature.
    fn to_rsa_key(&self) -> Option<DecodingKey> {
        let (modulus, exponent) = (decode(self.n.as_ref())?, decode(self.e.as_ref())?);
        let (modulus, exponent) = (strip_zeros(&modulus)?, strip_zeros(&exponent)?);
        let bits = modulus.len() * 8 - usize::try_from(modulus.first()?.leading_zeros()).ok()?;
        let is_secure = (2_048..=8_192).contains(&bits) && is_odd(modulus);
        // The library accepts exponents of up to 33 bits.
        let is_exponent = exponent.len() <= 4 && exponent != [1] && is_odd(exponent);
        (is_secure && is_exponent).then(|| DecodingKey::from_rsa_raw_components(modulus, exponent))
    }

    fn to_ec_key(&self) -> Option<DecodingKey> {
        let (x, y) = (decode(self.x.as_ref())?, decode(self.y.as_ref())?);
        if x.len() != 32 || y.len() != 32 {
            return None;
        }
        // An uncompressed point (SEC 1, section 2.3.3).
        Some(DecodingKey::from_ec_der(&[&[4], &x[..], &y[..]].concat()))
    }

    fn to_ed_key(&self) -> Option<DecodingKey> {
        // The library requires at least 32 bytes and ignores the bytes after them.
        let point = decode(self.x.as_ref()).filter(|point| point.len() == 32)?;
        Some(DecodingKey::from_ed_der(&point))
    }
}

/// Returns a big-endian number without its leading zero bytes; `None` for zero.
fn strip_zeros(number: &[u8]) -> Option<&[u8]> {
    number.get(number.iter().position(|byte| *byte != 0)?..)
}

fn is_odd(number: &[u8]) -> bool {
    number.last().is_some_and(|byte| byte % 2 == 1)
}

fn decode(text: Option<&String>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text?).ok()
}
