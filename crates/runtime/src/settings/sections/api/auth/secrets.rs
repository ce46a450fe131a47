//! The file with the secrets that verify HS256 tokens.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserializer, de::Error};

use super::read_bounded;
use crate::settings::values::parse_scalar;

/// The minimum size of a secret in bytes: the size of the output of the hash function (RFC 7518,
/// section 3.2).
const SECRET_BYTES_MIN: usize = 32;
/// The maximum size of a secret in bytes.
const SECRET_BYTES_MAX: usize = 1024;
/// The maximum number of secrets. In the worst case, a token is verified with each of them.
const SECRETS_MAX: usize = 16;
/// The maximum size of the file in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

const ALLOWED: &str = "empty, or the path of a file with 1 to 16 secrets, one per line, of 32 to \
     1024 bytes each";

/// The secrets that verify HS256 tokens, read when the configuration is loaded. Contains at least
/// one secret.
#[derive(Clone, Debug)]
pub struct TokenSecrets(Arc<[SecretString]>);

impl TokenSecrets {
    /// Returns the secrets in the order of the file. The first secret signs tokens.
    pub fn as_slice(&self) -> &[SecretString] {
        &self.0
    }
}

/// Parses the path of a file with secrets, and reads the file. Empty text means no file.
pub(super) fn file<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<TokenSecrets>, D::Error> {
    let path = parse_scalar(deserializer, ALLOWED, |value| value.as_text().map(str::to_owned))?;
    if path.is_empty() {
        return Ok(None);
    }
    let bytes = read_bounded(&path, FILE_BYTES_MAX)
        .map_err(|error| D::Error::custom(format!("{ALLOWED}; it cannot be read: {error}")))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| D::Error::custom(format!("{ALLOWED}; the file is not UTF-8")))?;
    let secrets = parse_secrets(&SecretString::from(text))
        .map_err(|rule| D::Error::custom(format!("{ALLOWED}; {rule}")))?;
    Ok(Some(TokenSecrets(secrets.into())))
}

/// Parses the lines of a file. Empty lines are ignored. An error names the line, but not its
/// content.
fn parse_secrets(text: &SecretString) -> Result<Vec<SecretString>, String> {
    let mut secrets = Vec::new();
    for (index, line) in text.expose_secret().lines().enumerate() {
        let number = index + 1;
        if line.is_empty() {
            continue;
        }
        if line.trim() != line {
            return Err(format!("line {number} begins or ends with white space"));
        }
        if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&line.len()) {
            return Err(format!("line {number} has {} bytes", line.len()));
        }
        secrets.push(SecretString::from(line));
    }
    match secrets.len() {
        0 => Err("the file contains no secret".to_owned()),
        count if count > SECRETS_MAX => Err(format!("the file contains {count} secrets")),
        _ => Ok(secrets),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<String>, String> {
        let secrets = parse_secrets(&SecretString::from(text))?;
        Ok(secrets.iter().map(|secret| secret.expose_secret().to_owned()).collect())
    }

    #[test]
    fn each_line_is_a_secret() {
        let (one, two) = ("1".repeat(32), "2".repeat(1024));
        assert_eq!(parse(&one), Ok(vec![one.clone()]));
        assert_eq!(parse(&format!("{one}\r\n\n{two}\n")), Ok(vec![one, two]));
    }

    #[test]
    fn invalid_line_is_named_without_its_content() {
        let valid = "v".repeat(32);
        for (text, rule) in [
            (String::new(), "no secret"),
            ("\n\n".to_owned(), "no secret"),
            (format!("{valid}\n{}", "x".repeat(31)), "line 2 has 31 bytes"),
            ("x".repeat(1025), "line 1 has 1025 bytes"),
            (format!("{valid} "), "line 1 begins or ends with white space"),
            (format!("{valid}\n").repeat(17), "17 secrets"),
        ] {
            let error = parse(&text).expect_err(rule);
            assert!(error.contains(rule) && !error.contains(&valid), "{error}");
        }
    }
}
