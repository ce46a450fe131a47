//! Redaction of connection strings, credentials and secrets in logs and responses.

use std::{borrow::Cow, sync::Arc};

use secrecy::{ExposeSecret, SecretString};

/// The texts, in lower case, that mark a word as a secret: a URL or a parameter of a connection
/// string, a query parameter with credentials, and the beginning of an API key.
const MARKS: [&str; 5] = ["://", "password=", "token=", "apikey=", KEY_MARK];
/// The beginning of an API key.
const KEY_MARK: &str = "mf_";
/// The beginning of a token: `{"` in base64.
const TOKEN_MARK: &str = "eyJ";
/// The scheme of an `Authorization` header. The word after the scheme is a secret.
const SCHEME: &str = "bearer";
/// The text that replaces a secret.
const REDACTED: &str = "<redacted>";
/// The minimum length of an API key and of a token that the log redacts, in bytes. Shorter texts
/// after the marks are names.
const CREDENTIALS_BYTES_MIN: usize = 32;
/// The minimum length of a configured secret that the log redacts, in bytes.
const SECRET_BYTES_MIN: usize = 6;
/// A configured secret that is shorter and consists of lower case letters is not redacted in the
/// log, because it can be an ordinary word, such as the password `postgres`.
const WORD_BYTES_MAX: usize = 16;

/// Replaces every word that contains a URL, `password=`, `token=`, `apikey=`, an API key or a token
/// with `<redacted>`, because the word may contain a secret. Also replaces the word after `Bearer`.
pub fn redact(text: &str) -> Cow<'_, str> {
    if !is_marked(text) && !text.split(' ').any(is_scheme) {
        return Cow::Borrowed(text);
    }
    let mut is_after_scheme = false;
    let words = text.split(' ').map(|word| {
        let is_secret = is_marked(word) || is_after_scheme && !word.is_empty();
        is_after_scheme = is_scheme(word) || is_after_scheme && word.is_empty();
        if is_secret { REDACTED } else { word }
    });
    Cow::Owned(words.collect::<Vec<_>>().join(" "))
}

fn is_marked(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    MARKS.iter().any(|mark| lower.contains(mark)) || text.contains(TOKEN_MARK)
}

/// Returns whether a word ends with the scheme, as in `Authorization:Bearer`.
fn is_scheme(word: &str) -> bool {
    let end = word.len().checked_sub(SCHEME.len()).and_then(|at| word.get(at..));
    end.is_some_and(|end| end.eq_ignore_ascii_case(SCHEME))
}

/// The redaction of complete log lines. No code of a service logs a secret, but a library may do so
/// at a verbose level, and the text of a panic is arbitrary. Clones share the secrets.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogRedaction(Arc<[SecretString]>);

impl LogRedaction {
    /// Creates a redaction of the configured secrets, and of all API keys and tokens.
    pub(crate) fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let is_word = |secret: &str| {
            secret.len() < WORD_BYTES_MAX && secret.bytes().all(|byte| byte.is_ascii_lowercase())
        };
        let mut texts = Vec::new();
        for secret in secrets {
            if secret.len() < SECRET_BYTES_MIN || is_word(&secret) {
                continue;
            }
            // Quotes, backslashes and control characters are escaped in a field, and again in JSON.
            let escaped = secret.escape_debug().to_string();
            if escaped != secret {
                texts.extend([escaped.escape_debug().to_string(), escaped]);
            }
            texts.push(secret);
        }
        // A secret can be a part of another one.
        texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        Self(texts.into_iter().map(SecretString::from).collect())
    }

    /// Replaces the secrets in a log line with `<redacted>`.
    pub(crate) fn redact<'a>(&self, line: &'a str) -> Cow<'a, str> {
        let mut line = Cow::Borrowed(line);
        for secret in self.0.iter().map(ExposeSecret::expose_secret) {
            if line.contains(secret) {
                line = Cow::Owned(line.replace(secret, REDACTED));
            }
        }
        for mark in [KEY_MARK, TOKEN_MARK] {
            if line.contains(mark) {
                line = Cow::Owned(redact_credentials(&line, mark));
            }
        }
        line
    }
}

/// Replaces the API keys or tokens that begin with `mark`.
fn redact_credentials(line: &str, mark: &str) -> String {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "_-.".contains(letter);
    let mut redacted = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find(mark) {
        let (before, found) = rest.split_at(start);
        let end = found.find(|letter: char| !is_part(letter)).unwrap_or(found.len());
        let (credentials, after) = found.split_at(end);
        redacted.push_str(before);
        let is_secret = credentials.len() >= CREDENTIALS_BYTES_MIN;
        redacted.push_str(if is_secret { REDACTED } else { credentials });
        rest = after;
    }
    redacted + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_strings_are_redacted() {
        assert_eq!(redact("connection refused"), "connection refused");
        assert_eq!(redact("no route to redis://:hunter2@there now"), "no route to <redacted> now");
        assert_eq!(redact("host=x password=hunter2 failed"), "host=x <redacted> failed");
        assert_eq!(redact("host=x PASSWORD=hunter2 failed"), "host=x <redacted> failed");
    }

    #[test]
    fn credentials_are_redacted() {
        assert_eq!(redact("GET /v1/events?token=a.b.c failed"), "GET <redacted> failed");
        assert_eq!(redact("/increasing?apikey=hunter2"), "<redacted>");
        assert_eq!(redact("the key mf_abc_def is revoked"), "the key <redacted> is revoked");
        assert_eq!(redact("the token eyJh.eyJz.x has expired"), "the token <redacted> has expired");
        assert_eq!(redact("Authorization: Bearer a.b.c, x"), "Authorization: Bearer <redacted> x");
        assert_eq!(redact("authorization:bearer  a.b.c"), "authorization:bearer  <redacted>");
        assert_eq!(redact("the scheme must be Bearer"), "the scheme must be Bearer");
    }

    #[test]
    fn log_contains_neither_configured_secrets_nor_credentials() {
        let key = format!("mf_{}_{}", "a".repeat(12), "b".repeat(43));
        let token = format!("eyJ{}.{}.x-_y", "h".repeat(20), "c".repeat(20));
        let log =
            LogRedaction::new(["hunter2", "hunter2-b", "a\"b\\c-d", "short"].map(str::to_owned));
        for (line, expected) in [
            ("component=postgres up".to_owned(), "component=postgres up"),
            ("\"AUTH hunter2-b\",hunter2".to_owned(), "\"AUTH <redacted>\",<redacted>"),
            (r#"{"x":"a\"b\\c-d"} a"b\c-d"#.to_owned(), r#"{"x":"<redacted>"} <redacted>"#),
            (format!("k=\"{key}\" {key}"), "k=\"<redacted>\" <redacted>"),
            (format!("[{token}]"), "[<redacted>]"),
            ("the key mf_abc and eyJhbGciOiJ".to_owned(), "the key mf_abc and eyJhbGciOiJ"),
            ("short".to_owned(), "short"),
        ] {
            assert_eq!(log.redact(&line), expected);
        }
        assert!(!format!("{log:?}").contains("hunter2"));
    }

    #[test]
    fn password_that_is_a_word_does_not_change_other_lines() {
        let log = LogRedaction::new(["postgres".to_owned(), "x".repeat(16)]);
        assert_eq!(log.redact("component=postgres"), "component=postgres");
        assert_eq!(log.redact(&"x".repeat(16)), "<redacted>");
    }
}
