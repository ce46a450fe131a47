//! The credentials in a request.

use std::fmt;

use mayfly_core::{KeyHash, limits};

use crate::{key::is_key_text, token::TOKEN_BYTES_MAX};

/// Credentials as sent, before they are checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Credentials<'a> {
    /// The text of an API key.
    Key(&'a str),
    /// The text of a token.
    Token(&'a str),
}

/// The error for credentials that cannot be valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedCredentials {
    /// The `Authorization` header has another scheme.
    #[error("the scheme of the Authorization header must be Bearer")]
    Scheme,
    /// The text is empty, too long, or contains characters that credentials do not have.
    #[error("the credentials must be 1 to 8192 bytes of UTF-8 without control characters")]
    Text,
    /// The request contains several different credentials.
    #[error("a request must not contain several different credentials")]
    Ambiguous,
}

impl<'a> Credentials<'a> {
    /// Maximum length of a key. Keys of the visitor source may have any characters.
    const KEY_BYTES_MAX: usize = limits::SOURCE_KEY_CHARS_MAX * 4;

    /// Parses the credentials in a request, given the values of all its `Authorization` and
    /// `X-API-Key` headers. Returns `None` if there are no such headers.
    pub fn from_headers(
        authorization: impl IntoIterator<Item = &'a [u8]>,
        api_key: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Option<Self>, MalformedCredentials> {
        let bearers = authorization.into_iter().map(strip_scheme);
        let mut found: Option<Self> = None;
        for text in bearers.chain(api_key.into_iter().map(Ok)) {
            let text = str::from_utf8(text?).map_err(|_| MalformedCredentials::Text)?;
            let credentials = Self::parse(text.trim_matches([' ', '\t']))?;
            if found.is_some_and(|found| found != credentials) {
                return Err(MalformedCredentials::Ambiguous);
            }
            found = Some(credentials);
        }
        Ok(found)
    }

    /// Parses the text of a key or a token. A text with exactly two dots is a token, unless it
    /// begins like a key.
    pub fn parse(text: &'a str) -> Result<Self, MalformedCredentials> {
        let is_token = !is_key_text(text) && text.bytes().filter(|byte| *byte == b'.').count() == 2;
        let bytes_max = if is_token { TOKEN_BYTES_MAX } else { Self::KEY_BYTES_MAX };
        if text.is_empty() || text.len() > bytes_max || contains_control_characters(text) {
            return Err(MalformedCredentials::Text);
        }
        Ok(if is_token { Self::Token(text) } else { Self::Key(text) })
    }

    /// Returns the text.
    #[must_use]
    pub const fn text(&self) -> &'a str {
        match self {
            Self::Key(text) | Self::Token(text) => text,
        }
    }

    /// Returns the digest of the text. Keys are found and results are cached by it, so no
    /// comparison depends on the secret itself.
    #[must_use]
    pub fn digest(&self) -> KeyHash {
        KeyHash::from_key(self.text())
    }
}

/// Returns whether a text contains a control character. A text of ASCII characters is not decoded.
fn contains_control_characters(text: &str) -> bool {
    if text.is_ascii() {
        text.bytes().any(|byte| byte.is_ascii_control())
    } else {
        text.chars().any(char::is_control)
    }
}

/// Returns the credentials in an `Authorization` header (RFC 6750). The scheme is case-insensitive.
fn strip_scheme(header: &[u8]) -> Result<&[u8], MalformedCredentials> {
    const SCHEME: &[u8] = b"bearer";
    match header.trim_ascii_start().split_at_checked(SCHEME.len()) {
        Some((scheme, rest))
            if scheme.eq_ignore_ascii_case(SCHEME) && rest.first() == Some(&b' ') =>
        {
            Ok(rest)
        }
        _ => Err(MalformedCredentials::Scheme),
    }
}

/// Shows only the kind.
impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Key(_) => "Key([redacted])",
            Self::Token(_) => "Token([redacted])",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse<'a>(
        authorization: &[&'a str],
        api_key: &[&'a str],
    ) -> Result<Option<Credentials<'a>>, MalformedCredentials> {
        let bytes =
            |values: &[&'a str]| values.iter().map(|value| value.as_bytes()).collect::<Vec<_>>();
        Credentials::from_headers(bytes(authorization), bytes(api_key))
    }

    #[test]
    fn text_with_two_dots_is_a_token_unless_it_begins_like_a_key() {
        for (text, expected) in [
            ("a.b.c", Credentials::Token("a.b.c")),
            ("..", Credentials::Token("..")),
            ("mf_a.b.c", Credentials::Key("mf_a.b.c")),
            ("mf_abc", Credentials::Key("mf_abc")),
            ("a.b", Credentials::Key("a.b")),
            ("a.b.c.d", Credentials::Key("a.b.c.d")),
            ("any text ü", Credentials::Key("any text ü")),
        ] {
            assert_eq!(
                parse(&[&format!("Bearer {text}")], &[]).map(|found| found.map(|one| one.digest())),
                Ok(Some(expected.digest()))
            );
            assert_eq!(parse(&[], &[text]), Ok(Some(expected)));
            assert_eq!(Credentials::parse(text), Ok(expected));
            assert_eq!(expected.text(), text);
        }
        assert_eq!(parse(&[], &[]), Ok(None));
    }

    #[test]
    fn scheme_is_bearer_in_any_case() {
        for header in ["Bearer mf_a", "bearer mf_a", "BEARER   mf_a ", " Bearer \tmf_a"] {
            assert_eq!(parse(&[header], &[]), Ok(Some(Credentials::Key("mf_a"))), "{header:?}");
        }
        for header in
            ["Basic bWY6eA==", "mf_a", "Bearermf_a", "Bearer", "", "Bearer\tmf_a", "Digest a"]
        {
            assert_eq!(parse(&[header], &[]), Err(MalformedCredentials::Scheme), "{header:?}");
        }
        // A key in the other header does not make the scheme valid.
        assert_eq!(parse(&["Basic eA=="], &["mf_a"]), Err(MalformedCredentials::Scheme));
    }

    #[test]
    fn different_credentials_are_ambiguous() {
        let key = Ok(Some(Credentials::Key("mf_a")));
        assert_eq!(parse(&["Bearer mf_a"], &["mf_a"]), key);
        assert_eq!(parse(&["Bearer mf_a", "Bearer mf_a"], &[]), key);
        for (authorization, api_key) in [
            (&["Bearer mf_a"][..], &["mf_b"][..]),
            (&["Bearer mf_a", "Bearer mf_b"], &[]),
            (&[], &["mf_a", "mf_b"]),
            (&["Bearer a.b.c"], &["mf_a"]),
        ] {
            assert_eq!(parse(authorization, api_key), Err(MalformedCredentials::Ambiguous));
        }
    }

    #[test]
    fn empty_long_and_binary_texts_are_malformed() {
        let long = format!("a.b.{}", "c".repeat(TOKEN_BYTES_MAX - 4));
        assert!(Credentials::parse(&long).is_ok());
        assert!(Credentials::parse(&"a".repeat(1_024)).is_ok());
        let longer = format!("{long}c");
        for wrong in ["", &longer, &"a".repeat(1_025), "a\nb", "a\0"] {
            assert_eq!(Credentials::parse(wrong), Err(MalformedCredentials::Text));
            assert_eq!(parse(&[], &[wrong]), Err(MalformedCredentials::Text));
        }
        assert_eq!(parse(&["Bearer "], &[]), Err(MalformedCredentials::Text));
        let binary = Credentials::from_headers([], [&b"mf_\xff"[..]]);
        assert_eq!(binary, Err(MalformedCredentials::Text));
    }

    #[test]
    fn text_is_redacted() {
        for credentials in
            [Credentials::Key("mf_secret"), Credentials::Token("secret.secret.secret")]
        {
            assert!(!format!("{credentials:?}").contains("secret"));
        }
    }
}
