//! The head of a request: the request line and the headers. The head determines the framing of the
//! body.

use memchr::{memchr, memchr_iter};

use super::{
    chunked::ChunkedFraming,
    target::{InvalidTarget, check_target},
};

/// The framing of the body that follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyFraming {
    /// A body with this length, in bytes.
    Length(u64),
    /// A chunked body.
    Chunked(ChunkedFraming),
    /// An upgrade or a tunnel, which ends with the connection.
    Endless,
}

/// The result of parsing a complete head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) body: BodyFraming,
    /// The request target if it is invalid, else `None`.
    pub(super) invalid_target: Option<InvalidTarget>,
    /// The head without its upgrade headers, if the upgrade must be ignored. If these headers
    /// request WebSocket, the HTTP library treats all bytes after the original head as the body.
    pub(super) without_upgrade: Option<Vec<u8>>,
}

/// Returns the length of the head at the start of `bytes`, including the empty line, or `None` if
/// the head is incomplete. The first `searched` bytes are known not to contain the end of the head.
pub(super) fn find_head_end(bytes: &[u8], searched: usize) -> Option<usize> {
    // Empty lines before a request are ignored (RFC 9112, section 2.2).
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let first = start.max(searched.saturating_sub(3));
    memchr_iter(b'\n', &bytes[first..]).find_map(|line_end| {
        let next = first + line_end + 1;
        match bytes[next..] {
            [b'\n', ..] => Some(next + 1),
            [b'\r', b'\n', ..] => Some(next + 2),
            _ => None,
        }
    })
}

/// Returns the lines of a head, without the line feeds. Omits empty lines before the first line.
fn split_lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(head);
    let lines = std::iter::from_fn(move || {
        let (line, after) = split_line(rest?);
        rest = after;
        Some(line)
    });
    lines.skip_while(|line| is_empty(line))
}

/// Returns the first line without its line feed, and the bytes after the line feed. If there is no
/// line feed, returns all bytes.
fn split_line(bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr(b'\n', bytes) {
        Some(end) => (&bytes[..end], Some(&bytes[end + 1..])),
        None => (bytes, None),
    }
}

impl Head {
    /// Parses a complete head. Only the request target is validated. The HTTP library rejects
    /// everything else that is malformed and closes the connection.
    pub(super) fn parse(head: &[u8]) -> Self {
        let mut lines = split_lines(head);
        let request_line = lines.next().unwrap_or_default();
        let mut length = 0;
        let (mut is_chunked, mut has_upgrade, mut is_websocket) = (false, false, false);
        for line in lines {
            // Fast path: the names of the relevant headers begin with `c`, `t` or `u`.
            if !matches!(line.first().map(u8::to_ascii_lowercase), Some(b'c' | b't' | b'u')) {
                continue;
            }
            let Some(colon) = memchr(b':', line) else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"content-length") {
                length = std::str::from_utf8(value)
                    .ok()
                    .and_then(|value| value.parse().ok())
                    .unwrap_or(0);
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                is_chunked |= value.eq_ignore_ascii_case(b"chunked");
            } else if name.eq_ignore_ascii_case(b"upgrade") {
                has_upgrade = true;
                is_websocket |= value.eq_ignore_ascii_case(b"websocket");
            }
        }
        let has_body = is_chunked || length > 0;
        let is_handshake = is_websocket && request_line.starts_with(b"GET ") && !has_body;
        let is_stream = is_handshake || (request_line.starts_with(b"CONNECT ") && length == 0);
        // The HTTP library uses the same precedence.
        let body = if is_chunked {
            BodyFraming::Chunked(ChunkedFraming::new())
        } else if is_stream {
            BodyFraming::Endless
        } else {
            BodyFraming::Length(length)
        };
        let without_upgrade = (has_upgrade && !is_handshake).then(|| remove_upgrade(head));
        Self { body, invalid_target: check_target(request_line), without_upgrade }
    }
}

/// Returns a head without the headers `Upgrade` (RFC 9110, section 7.8) and `HTTP2-Settings`, and
/// without these names in `Connection`.
fn remove_upgrade(head: &[u8]) -> Vec<u8> {
    let is_removed = |name: &[u8]| {
        name.eq_ignore_ascii_case(b"upgrade") || name.eq_ignore_ascii_case(b"http2-settings")
    };
    let mut kept = Vec::with_capacity(head.len());
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        if name.eq_ignore_ascii_case(b"connection") {
            let value = value.get(1..).unwrap_or_default();
            let options = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            let options: Vec<_> = options.filter(|option| !is_removed(option)).collect();
            if !options.is_empty() {
                kept.extend_from_slice(b"Connection: ");
                kept.extend_from_slice(&options.join(&b","[..]));
                kept.extend_from_slice(b"\r\n");
            }
        } else if !is_removed(name) {
            kept.extend_from_slice(line);
        }
    }
    kept
}

fn is_empty(line: &[u8]) -> bool {
    line.is_empty() || line == b"\r"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_ends_at_the_first_empty_line_after_its_start() {
        let head = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        let more = [head.as_slice(), b"GET /2 HTTP/1.1\r\n\r\n"].concat();
        assert_eq!(find_head_end(&more, 0), Some(head.len()));
        for searched in 0..head.len() {
            assert_eq!(find_head_end(&head[..searched], 0), None, "{searched}");
            assert_eq!(find_head_end(head, searched), Some(head.len()), "{searched}");
        }
        assert_eq!(find_head_end(b"GET / HTTP/1.1\nHost: x\n\nrest", 0), Some(24));
        assert_eq!(find_head_end(b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", 0), Some(22));
        assert_eq!(find_head_end(b"\r\n\r\n", 0), None);
    }

    #[test]
    fn body_framing_is_read_from_the_headers() {
        let body = |headers: &str| {
            Head::parse(format!("POST / HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes()).body
        };
        assert_eq!(body(""), BodyFraming::Length(0));
        assert_eq!(body("CONTENT-LENGTH:  17 \r\n"), BodyFraming::Length(17));
        assert_eq!(body("Content-Length: x\r\n"), BodyFraming::Length(0));
        assert_eq!(body("X-Content-Length: 5\r\n"), BodyFraming::Length(0));
        let chunked = BodyFraming::Chunked(ChunkedFraming::new());
        assert_eq!(body("Transfer-Encoding: Chunked\r\nContent-Length: 5\r\n"), chunked);
        assert_eq!(body("Upgrade: h2c\r\n"), BodyFraming::Length(0));
        assert_eq!(Head::parse(b"CONNECT a:1 HTTP/1.1\r\n\r\n").body, BodyFraming::Endless);
        let connect = b"CONNECT a:1 HTTP/1.1\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(Head::parse(connect).body, BodyFraming::Length(3));
    }

    #[test]
    fn only_a_websocket_handshake_is_an_upgrade() {
        let parse = |request: &str, headers: &str| {
            let head = format!("{request} / HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
            let head = Head::parse(head.as_bytes());
            let text = |head: Vec<u8>| String::from_utf8(head).expect("text");
            (head.body, head.without_upgrade.map(text))
        };
        let websocket = "Connection: Upgrade\r\nUpgrade: WebSocket\r\n";
        assert_eq!(parse("GET", websocket), (BodyFraming::Endless, None));
        let (body, without) = parse("POST", &format!("{websocket}Content-Length: 5\r\n"));
        assert_eq!(body, BodyFraming::Length(5));
        let expected = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(without.as_deref(), Some(expected));
        let h2c = "Connection: close, Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                   HTTP2-Settings: AAMAAABk\r\nAccept: */*\r\n";
        let (body, without) = parse("GET", h2c);
        assert_eq!(body, BodyFraming::Length(0));
        let expected = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: */*\r\n\r\n";
        assert_eq!(without.as_deref(), Some(expected));
        assert_eq!(parse("GET", "Connection: keep-alive\r\n").1, None);
    }
}
