//! `[auth]`: API keys and tokens.

mod jwks;
mod secrets;

use std::{
    fs::File,
    io::{self, Read},
};

use serde::{Deserialize, Deserializer};

pub use self::{jwks::JwksFile, secrets::TokenSecrets};
use crate::settings::values::{Scalar, parse_scalar, url};

/// The names of the scopes that `auth.anonymous` accepts.
const SCOPES: [&str; 5] = ["publish", "subscribe", "read", "take", "operate"];
/// The maximum number of values of `auth.issuer` and of `auth.audience`.
const NAMES_MAX: usize = 16;
/// The maximum number of characters of an issuer or an audience.
const NAME_CHARS_MAX: usize = 256;

/// How services authenticate callers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthSettings {
    /// Whether requests require credentials.
    pub mode: AuthMode,
    /// The names of the scopes of callers without credentials.
    #[serde(deserialize_with = "scopes")]
    pub anonymous: Vec<&'static str>,
    /// The secrets that verify HS256 tokens; `None` if such tokens are not accepted.
    #[serde(deserialize_with = "secrets::file")]
    pub secret_file: Option<TokenSecrets>,
    /// The file with the public keys that verify tokens.
    #[serde(deserialize_with = "jwks::file")]
    pub jwks_file: Option<JwksFile>,
    /// The URL of the public keys that verify tokens; empty if there is none.
    #[serde(deserialize_with = "url::jwks")]
    pub jwks_url: String,
    /// The accepted values of the claim `iss`. An empty list accepts every issuer.
    #[serde(deserialize_with = "names")]
    pub issuer: Vec<String>,
    /// The accepted values of the claim `aud`. An empty list accepts every audience.
    #[serde(deserialize_with = "names")]
    pub audience: Vec<String>,
}

/// Whether requests require credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// Requests require an API key or a token, unless a scope of `auth.anonymous` allows them.
    Keys,
    /// Every caller has all rights. Credentials are not checked.
    Open,
}

impl<'de> Deserialize<'de> for AuthMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse_scalar(deserializer, "keys or open", |value| match value {
            Scalar::Text(text) if text == "keys" => Some(Self::Keys),
            Scalar::Text(text) if text == "open" => Some(Self::Open),
            _ => None,
        })
    }
}

fn scopes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<&'static str>, D::Error> {
    const ALLOWED: &str =
        "a list of scopes; the scopes are publish, subscribe, read, take and operate";
    parse_scalar(deserializer, ALLOWED, |value| {
        let names = value.as_list()?.into_iter();
        names.map(|name| SCOPES.into_iter().find(|scope| *scope == name)).collect()
    })
}

fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    const ALLOWED: &str =
        "a list of up to 16 names of 1 to 256 characters without control characters";
    parse_scalar(deserializer, ALLOWED, |value| {
        let names = value.as_list()?;
        let is_name = |name: &&str| {
            (1..=NAME_CHARS_MAX).contains(&name.chars().count())
                && !name.chars().any(char::is_control)
        };
        let is_valid = names.len() <= NAMES_MAX && names.iter().all(is_name);
        is_valid.then(|| names.into_iter().map(str::to_owned).collect())
    })
}

/// Reads a file of at most `bytes_max` bytes.
fn read_bounded(path: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("it has more than {bytes_max} bytes")));
    }
    Ok(bytes)
}
