//! The request target: the path and the query in the first line of a request.
//!
//! The HTTP library rejects an invalid target with an empty response. The target is therefore
//! replaced with a valid one, and the middleware rejects the request with a problem that explains
//! the error. The request is never executed (RFC 9112, section 3).

use std::fmt::Write;

use actix_web::http::Uri;

use crate::{Code, Problem};

/// Maximum length of a target that the HTTP library accepts, in bytes.
const BYTES_MAX: usize = 65_534;

/// An invalid request target.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InvalidTarget {
    /// The byte offset of the target in the request line.
    start: usize,
    /// The length of the target, in bytes.
    length: usize,
    /// The percent-encoded target if the encoded form is valid, else `/`.
    replacement: String,
    detail: String,
}

/// Returns the target of a request line if the target is invalid, else `None`. A line without a
/// target or with a version other than HTTP/1.x also yields `None`, because the HTTP library
/// rejects the line.
pub(super) fn check_target(request_line: &[u8]) -> Option<InvalidTarget> {
    let line = request_line.trim_ascii_end();
    let start = line.iter().position(|byte| *byte == b' ')? + 1;
    let length = line.get(start..)?.iter().rposition(|byte| *byte == b' ')?;
    let target = &line[start..start + length];
    let is_plain = target.first() == Some(&b'/')
        && target.len() <= BYTES_MAX
        && target.iter().all(|byte| is_always_valid(*byte));
    if is_plain || !line[start + length + 1..].starts_with(b"HTTP/1.") || is_valid(target) {
        return None;
    }
    let replacement = encode(target);
    let is_encoded = target.len() <= BYTES_MAX && is_valid(replacement.as_bytes());
    Some(InvalidTarget {
        start,
        length,
        detail: explain(target, is_encoded),
        replacement: if is_encoded { replacement } else { "/".to_owned() },
    })
}

impl InvalidTarget {
    /// Returns the head with the target replaced.
    pub(super) fn replace_in(&self, head: &[u8]) -> Vec<u8> {
        // Empty lines before the request line are ignored.
        let line = head.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(0);
        let start = line + self.start;
        [&head[..start], self.replacement.as_bytes(), &head[start + self.length..]].concat()
    }

    /// Returns the problem that rejects the request.
    pub(super) fn into_problem(self) -> Problem {
        Problem::new(Code::InvalidField).detail(self.detail)
    }
}

/// Returns whether a byte is valid both in a path and in a query.
fn is_always_valid(byte: u8) -> bool {
    matches!(byte, b'!' | b'$'..=b';' | b'=' | b'?'..=b'_' | b'a'..=b'z' | b'|' | b'~')
}

fn is_valid(target: &[u8]) -> bool {
    Uri::try_from(target).is_ok()
}

/// Percent-encodes the bytes that are invalid in a path or in a query, except `#`. Discards all but
/// the first [`BYTES_MAX`] bytes.
fn encode(target: &[u8]) -> String {
    let mut encoded = String::with_capacity(target.len() + 16);
    for byte in &target[..target.len().min(BYTES_MAX)] {
        if is_always_valid(*byte) || *byte == b'#' {
            encoded.push(char::from(*byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn explain(target: &[u8], is_encoded: bool) -> String {
    if target.len() > BYTES_MAX {
        return format!("The request target is longer than {BYTES_MAX} bytes.");
    }
    let is_invalid = |byte: &u8| !is_always_valid(*byte) && *byte != b'#';
    let Some(at) = target.iter().position(is_invalid).filter(|_| is_encoded) else {
        return "The request target is not a valid path: it must begin with `/`.".to_owned();
    };
    // A non-ASCII character consists of several bytes.
    let text = String::from_utf8_lossy(&target[at..]);
    let character = text.chars().next().unwrap_or_default();
    let encoded = encode(&target[at..target.len().min(at + character.len_utf8())]);
    let name = match character {
        ' ' => "a space".to_owned(),
        graphic if graphic.is_ascii_graphic() => format!("`{graphic}`"),
        other if other.is_ascii() => "a control character".to_owned(),
        _ => "a non-ASCII character".to_owned(),
    };
    format!("The request target contains {name}: percent-encode it as {encoded}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(target: &str) -> Option<(String, String)> {
        let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
        let line = head.lines().next().expect("a line");
        let invalid = check_target(line.as_bytes())?;
        let replaced = String::from_utf8(invalid.replace_in(head.as_bytes())).expect("text");
        let (target, rest) = replaced
            .strip_prefix("GET ")
            .and_then(|rest| rest.split_once(' '))
            .expect("a request line");
        assert_eq!(rest, "HTTP/1.1\r\nHost: x\r\n\r\n");
        Some((target.to_owned(), invalid.detail))
    }

    #[test]
    fn valid_target_is_not_replaced() {
        for valid in
            ["/", "/a/b?c=d&e=%3C", "/a?q={'x'}", "/{a}\"", "/a#b", "*", "http://example.org/x"]
        {
            assert_eq!(check(valid), None, "{valid}");
        }
    }

    #[test]
    fn invalid_character_is_encoded_and_named() {
        for (target, encoded, name) in [
            ("/v1/messages/<id>", "/v1/messages/%3Cid%3E", "`<`: percent-encode it as %3C"),
            ("/a b", "/a%20b", "a space"),
            ("/x?q=\"", "/x?q=%22", "`\"`"),
            ("/ü", "/%C3%BC", "a non-ASCII character: percent-encode it as %C3%BC."),
            ("/`", "/%60", "%60"),
        ] {
            let (replacement, detail) = check(target).expect("an invalid target");
            assert_eq!(replacement, encoded);
            assert!(detail.contains(name), "{detail}");
        }
    }

    #[test]
    fn other_invalid_targets_are_replaced_with_the_root() {
        let long = format!("/{}", "x".repeat(70_000));
        for (target, name) in
            [(long.as_str(), "longer than 65534"), ("http://[a/", "not a valid path")]
        {
            let (replacement, detail) = check(target).expect("an invalid target");
            assert_eq!(replacement, "/");
            assert!(detail.contains(name), "{detail}");
        }
    }

    #[test]
    fn line_without_version_is_left_to_the_http_library() {
        for line in ["GET", "GET ", "GET /<", "GET /< HTTP/2.0", ""] {
            assert_eq!(check_target(line.as_bytes()), None, "{line}");
        }
    }
}
