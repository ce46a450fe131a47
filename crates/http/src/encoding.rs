//! gzip of answers that are worth it.

use std::io::Write;

use actix_web::{
    body::{BodySize, BoxBody, MessageBody},
    dev::ServiceResponse,
    http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, VARY},
    web,
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

/// Bodies up to this many bytes go as they are.
const PLAIN_BYTES_MAX: u64 = 1024;
/// Bodies above this many bytes are compressed off the threads that serve.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Whether the caller takes gzip.
pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let mut any = false;
    for value in headers.get_all(ACCEPT_ENCODING) {
        for coding in value.to_str().unwrap_or_default().split(',') {
            let mut parts = coding.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let wanted = parts
                .find_map(|part| part.strip_prefix("q="))
                .is_none_or(|q| q.parse().is_ok_and(|q: f32| q > 0.0));
            if name.eq_ignore_ascii_case("gzip") {
                return wanted;
            }
            any |= name == "*" && wanted;
        }
    }
    any
}

/// Compresses a full body where it is worth it and the caller takes it.
pub(crate) async fn compress(
    mut response: ServiceResponse<BoxBody>,
    gzip: bool,
) -> ServiceResponse<BoxBody> {
    let BodySize::Sized(size) = response.response().body().size() else { return response };
    if size <= PLAIN_BYTES_MAX || !is_compressible(response.headers()) {
        return response;
    }
    response.headers_mut().append(VARY, HeaderValue::from_static("Accept-Encoding"));
    if !gzip {
        return response;
    }
    let (request, http) = response.into_parts();
    let (http, body) = http.into_parts();
    let (body, compressed) = match body.try_into_bytes() {
        Ok(plain) => match deflate(plain.clone()).await {
            Some(small) => (BoxBody::new(small), true),
            None => (BoxBody::new(plain), false),
        },
        Err(streamed) => (streamed, false),
    };
    let mut http = http.set_body(body);
    if compressed {
        http.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    ServiceResponse::new(request, http)
}

/// Text is; pictures are compressed already.
fn is_compressible(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    is_text(kind) && !headers.contains_key(CONTENT_ENCODING)
}

fn is_text(kind: &str) -> bool {
    kind.starts_with("text/")
        || ["json", "javascript", "xml"].iter().any(|part| kind.contains(part))
}

/// Whether a body of this content type and so many bytes is smaller compressed.
pub(crate) fn is_worth_it(kind: &str, bytes: usize) -> bool {
    is_text(kind) && bytes as u64 > PLAIN_BYTES_MAX
}

/// Compresses what is sent many times, as small as it gets.
pub(crate) fn deflate_well(plain: &[u8]) -> Option<Bytes> {
    deflate_at(plain, Compression::best())
}

async fn deflate(plain: Bytes) -> Option<Bytes> {
    if plain.len() <= INLINE_BYTES_MAX {
        return deflate_now(&plain);
    }
    web::block(move || deflate_now(&plain)).await.ok().flatten()
}

fn deflate_now(plain: &[u8]) -> Option<Bytes> {
    deflate_at(plain, Compression::fast())
}

fn deflate_at(plain: &[u8], level: Compression) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), level);
    encoder.write_all(plain).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_taken_where_it_is_named_and_not_refused() {
        let accepts = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(text));
            accepts_gzip(&headers)
        };
        assert!(!accepts_gzip(&HeaderMap::new()));
        for taken in ["gzip", "br, GZIP;q=0.5", "*", "deflate, *;q=0.1"] {
            assert!(accepts(taken), "{taken}");
        }
        for refused in ["", "br", "gzip;q=0", "gzip;q=0.0, *", "*;q=0", "identity"] {
            assert!(!accepts(refused), "{refused}");
        }
    }
}
