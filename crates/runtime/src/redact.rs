//! Redaction of connection strings and credentials in logs and responses.

use std::borrow::Cow;

/// The texts that mark a word as a secret: a URL or a parameter of a connection string, a query
/// parameter with credentials, and the beginning of an API key.
const MARKS: [&str; 5] = ["://", "password=", "token=", "apikey=", "mf_"];
/// The scheme of an `Authorization` header. The word after the scheme is a secret.
const SCHEME: &str = "bearer";

/// Replaces every word that contains a URL, `password=`, `token=`, `apikey=` or an API key with
/// `<redacted>`, because the word may contain a secret. Also replaces the word after `Bearer`.
pub fn redact(text: &str) -> Cow<'_, str> {
    let is_marked = |text: &str| MARKS.iter().any(|mark| text.contains(*mark));
    if !is_marked(text) && !text.split(' ').any(is_scheme) {
        return Cow::Borrowed(text);
    }
    let mut is_after_scheme = false;
    let words = text.split(' ').map(|word| {
        let is_secret = is_marked(word) || is_after_scheme && !word.is_empty();
        is_after_scheme = is_scheme(word) || is_after_scheme && word.is_empty();
        if is_secret { "<redacted>" } else { word }
    });
    Cow::Owned(words.collect::<Vec<_>>().join(" "))
}

/// Returns whether a word ends with the scheme, as in `Authorization:Bearer`.
fn is_scheme(word: &str) -> bool {
    let end = word.len().checked_sub(SCHEME.len()).and_then(|at| word.get(at..));
    end.is_some_and(|end| end.eq_ignore_ascii_case(SCHEME))
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn connection_strings_are_redacted() {
        assert_eq!(redact("connection refused"), "connection refused");
        assert_eq!(redact("no route to redis://:hunter2@there now"), "no route to <redacted> now");
        assert_eq!(redact("host=x password=hunter2 failed"), "host=x <redacted> failed");
    }

    #[test]
    fn credentials_are_redacted() {
        assert_eq!(redact("GET /v1/events?token=a.b.c failed"), "GET <redacted> failed");
        assert_eq!(redact("/increasing?apikey=hunter2"), "<redacted>");
        assert_eq!(redact("the key mf_abc_def is revoked"), "the key <redacted> is revoked");
        assert_eq!(redact("Authorization: Bearer a.b.c, x"), "Authorization: Bearer <redacted> x");
        assert_eq!(redact("authorization:bearer  a.b.c"), "authorization:bearer  <redacted>");
        assert_eq!(redact("the scheme must be Bearer"), "the scheme must be Bearer");
    }
}
