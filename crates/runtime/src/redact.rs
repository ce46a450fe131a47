//! Redaction of connection strings in logs and responses.

use std::borrow::Cow;

/// Replaces every word that contains a URL or `password=` with `<redacted>`, because the word may
/// contain a password.
pub fn redact(text: &str) -> Cow<'_, str> {
    if !text.contains("://") && !text.contains("password=") {
        return Cow::Borrowed(text);
    }
    let words = text.split(' ').map(|word| {
        let is_secret = word.contains("://") || word.contains("password=");
        if is_secret { "<redacted>" } else { word }
    });
    Cow::Owned(words.collect::<Vec<_>>().join(" "))
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
}
