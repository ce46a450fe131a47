//! Compresses responses with gzip.

use std::io::Write;

use actix_web::{
    body::{BodySize, BoxBody, MessageBody},
    dev::ServiceResponse,
    http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, VARY},
    web,
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

use super::accept::alternatives;

/// Bodies up to this size, in bytes, are not compressed.
const UNCOMPRESSED_BYTES_MAX: u64 = 1024;
/// Bodies above this size, in bytes, are compressed on the blocking thread pool instead of on a
/// server thread.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Returns whether the client accepts gzip and does not prefer an uncompressed response.
pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    // Fast path: most programs do not send `Accept-Encoding`.
    if !headers.contains_key(ACCEPT_ENCODING) {
        return false;
    }
    let (mut gzip, mut identity, mut any) = (None, None, 0);
    for coding in alternatives(headers, ACCEPT_ENCODING) {
        if coding.name.eq_ignore_ascii_case("gzip") || coding.name.eq_ignore_ascii_case("x-gzip") {
            gzip = gzip.max(Some(coding.weight));
        } else if coding.name.eq_ignore_ascii_case("identity") {
            identity = Some(coding.weight);
        } else if coding.name == "*" {
            any = coding.weight;
        }
    }
    let gzip = gzip.unwrap_or(any);
    gzip > 0 && gzip >= identity.unwrap_or(0)
}

/// Compresses a complete text body above 1 KiB if the client accepts gzip. Sets `Vary` even if the
/// client does not accept gzip.
pub(crate) async fn compress(
    mut response: ServiceResponse<BoxBody>,
    accepts_gzip: bool,
) -> ServiceResponse<BoxBody> {
    let BodySize::Sized(size) = response.response().body().size() else { return response };
    if size <= UNCOMPRESSED_BYTES_MAX || !is_compressible(response.headers()) {
        return response;
    }
    response.headers_mut().append(VARY, HeaderValue::from_static("Accept-Encoding"));
    if !accepts_gzip {
        return response;
    }
    let (request, http) = response.into_parts();
    let (http, body) = http.into_parts();
    let (body, is_compressed) = match body.try_into_bytes() {
        Ok(plain) => match gzip(plain.clone()).await {
            Some(compressed) => (BoxBody::new(compressed), true),
            None => (BoxBody::new(plain), false),
        },
        Err(streamed) => (streamed, false),
    };
    let mut http = http.set_body(body);
    if is_compressed {
        http.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    ServiceResponse::new(request, http)
}

/// Returns whether the body is text that has not been compressed yet.
fn is_compressible(headers: &HeaderMap) -> bool {
    let content_type =
        headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    is_text(content_type) && !headers.contains_key(CONTENT_ENCODING)
}

fn is_text(content_type: &str) -> bool {
    content_type.starts_with("text/")
        || ["json", "javascript", "xml"].iter().any(|part| content_type.contains(part))
}

/// Returns whether a body of this content type and size is worth compressing.
pub(crate) fn is_worth_compressing(content_type: &str, bytes: usize) -> bool {
    is_text(content_type) && bytes as u64 > UNCOMPRESSED_BYTES_MAX
}

/// Compresses a body at the highest level, for bodies that are sent many times.
pub(crate) fn compress_best(plain: &[u8]) -> Option<Bytes> {
    gzip_at(plain, Compression::best())
}

async fn gzip(plain: Bytes) -> Option<Bytes> {
    if plain.len() <= INLINE_BYTES_MAX {
        return gzip_fast(&plain);
    }
    web::block(move || gzip_fast(&plain)).await.ok().flatten()
}

fn gzip_fast(plain: &[u8]) -> Option<Bytes> {
    gzip_at(plain, Compression::fast())
}

fn gzip_at(plain: &[u8], level: Compression) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), level);
    encoder.write_all(plain).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_accepted_if_allowed_and_identity_is_not_preferred() {
        let accepts = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(text));
            accepts_gzip(&headers)
        };
        assert!(!accepts_gzip(&HeaderMap::new()));
        for accepted in [
            "gzip",
            "br, GZIP;q=0.5",
            "*",
            "deflate, *;q=0.1",
            "x-gzip",
            "gzip;q=0.5, identity;q=0.5",
        ] {
            assert!(accepts(accepted), "{accepted}");
        }
        for rejected in [
            "",
            "br",
            "gzip;q=0",
            "gzip; Q=0",
            "gzip;q=0.0, *",
            "*;q=0",
            "identity",
            "gzip;q=0.5, identity",
        ] {
            assert!(!accepts(rejected), "{rejected}");
        }
    }
}
