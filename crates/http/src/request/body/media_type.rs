//! The declared media type of a body.

use actix_web::http::header::{CONTENT_TYPE, HeaderMap};

use crate::{Code, Problem};

/// A media type that some route accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MediaType {
    Json,
    Ndjson,
    Form,
    /// Text from `navigator.sendBeacon`, which is parsed as JSON.
    Text,
}

/// Returns the media type of a body. Returns `None` if the type is missing, if no route accepts the
/// type, or if the charset is not UTF-8.
pub(super) fn find(headers: &HeaderMap) -> Option<MediaType> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next()?;
    if !parts.all(is_utf8_or_not_charset) {
        return None;
    }
    if essence.eq_ignore_ascii_case("application/json") || is_structured_json(essence) {
        Some(MediaType::Json)
    } else if essence.eq_ignore_ascii_case("application/x-ndjson") {
        Some(MediaType::Ndjson)
    } else if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Some(MediaType::Form)
    } else if essence.eq_ignore_ascii_case("text/plain") {
        Some(MediaType::Text)
    } else {
        None
    }
}

/// Returns the problem for a media type that is not among `supported`.
pub(super) fn unsupported(supported: &[MediaType]) -> Problem {
    let detail = match supported {
        [MediaType::Form] => "Unsupported media type: expected application/x-www-form-urlencoded.",
        [MediaType::Json] => "Unsupported media type: expected application/json in UTF-8.",
        [MediaType::Json, MediaType::Text] => {
            "Unsupported media type: expected application/json or text/plain in UTF-8."
        }
        _ => "Unsupported media type: expected application/json or application/x-ndjson in UTF-8.",
    };
    Problem::new(Code::UnsupportedMediaType).detail(detail)
}

fn is_structured_json(essence: &str) -> bool {
    let essence = essence.to_ascii_lowercase();
    essence
        .strip_prefix("application/")
        .and_then(|rest| rest.strip_suffix("+json"))
        .is_some_and(|name| !name.is_empty())
}

fn is_utf8_or_not_charset(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return true };
    let value = value.trim().trim_matches('"');
    !name.trim().eq_ignore_ascii_case("charset")
        || value.eq_ignore_ascii_case("utf-8")
        || value.eq_ignore_ascii_case("utf8")
}
