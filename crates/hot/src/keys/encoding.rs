//! The encoding of names in keys.
//!
//! A key consists of the prefix of the installation, the hash tag, and parts joined by colons. A
//! part is a fixed word or a name, for example a username or a message ID. In a name, `%`, `:`, `{`
//! and `}` are percent-encoded; all other characters are unchanged. Therefore no encoded name
//! contains a colon, and lists of parts with different texts never form the same key.

use std::fmt::Write;

use mayfly_core::{Host, MessageId};

/// A part of a key.
pub(super) enum Part<'a> {
    /// A fixed word, which contains no characters to encode.
    Word(&'static str),
    /// A name, which is encoded.
    Name(&'a dyn Name),
}

/// A name in a key.
pub(super) trait Name {
    /// Encodes the name and appends it to a key.
    fn append_to(&self, key: &mut String);
}

impl Name for &str {
    fn append_to(&self, key: &mut String) {
        let mut rest = *self;
        // All four characters are ASCII, so each is one byte long, and no other character contains
        // these bytes.
        let is_encoded = |byte: &u8| matches!(byte, b'%' | b':' | b'{' | b'}');
        while let Some(at) = rest.as_bytes().iter().position(is_encoded) {
            key.push_str(&rest[..at]);
            write!(key, "%{:02X}", rest.as_bytes()[at]).expect("invariant: a string has no limit");
            rest = &rest[at + 1..];
        }
        key.push_str(rest);
    }
}

impl Name for &Host {
    fn append_to(&self, key: &mut String) {
        self.as_str().append_to(key);
    }
}

/// The text of an ID contains no characters to encode.
impl Name for MessageId {
    fn append_to(&self, key: &mut String) {
        key.push_str(self.encode(&mut [0; Self::TEXT_BYTES]));
    }
}

/// Digits and the minus sign are not encoded.
impl Name for u64 {
    fn append_to(&self, key: &mut String) {
        key.push_str(&self.to_string());
    }
}

impl Name for i64 {
    fn append_to(&self, key: &mut String) {
        key.push_str(&self.to_string());
    }
}

/// Appends parts to a key, separated by colons.
pub(super) fn append_parts(key: &mut String, parts: &[Part<'_>]) {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            key.push(':');
        }
        match part {
            Part::Word(word) => key.push_str(word),
            Part::Name(name) => name.append_to(key),
        }
    }
}

/// Splits the parts that [`append_parts`] joined, and decodes each part. Returns `None` if a part
/// contains an unknown escape sequence.
#[cfg(test)]
pub(super) fn split_parts(text: &str) -> Option<Vec<String>> {
    text.split(':').map(decode).collect()
}

#[cfg(test)]
fn decode(part: &str) -> Option<String> {
    let mut decoded = String::new();
    let mut pieces = part.split('%');
    decoded.push_str(pieces.next()?);
    for piece in pieces {
        let (code, rest) = piece.split_at_checked(2)?;
        let letter = [('%', "25"), (':', "3A"), ('{', "7B"), ('}', "7D")]
            .into_iter()
            .find_map(|(letter, known)| (known == code).then_some(letter))?;
        decoded.push(letter);
        decoded.push_str(rest);
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn join(names: &[String]) -> String {
        let mut key = String::new();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let parts: Vec<_> = names.iter().map(|name| Part::Name(name)).collect();
        append_parts(&mut key, &parts);
        key
    }

    #[test]
    fn only_separators_braces_and_percent_signs_are_encoded() {
        let names = ["kiran", "Jürgen B. <j@b.org>", "a:b", "{x}", "100%", ""].map(str::to_owned);
        let key = "kiran:Jürgen B. <j@b.org>:a%3Ab:%7Bx%7D:100%25:";
        assert_eq!(join(&names), key);
        assert_eq!(split_parts(key).as_deref(), Some(&names[..]));
    }

    proptest! {
        #[test]
        fn names_round_trip(names in proptest::collection::vec("[a%:{}0-9A-F ü]{0,6}|.*", 1..5)) {
            prop_assert_eq!(split_parts(&join(&names)), Some(names));
        }

        #[test]
        fn encoded_name_contains_no_separator(name in "[a%:{}]{0,8}") {
            let has_separator = join(&[name]).contains([':', '{', '}']);
            prop_assert!(!has_separator);
        }
    }
}
