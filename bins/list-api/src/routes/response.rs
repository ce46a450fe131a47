//! Responses with bodies that are already encoded as JSON.

use actix_web::HttpResponse;
use bytes::Bytes;

/// Returns a response with a JSON body.
pub fn json_response(body: impl Into<Bytes>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(body.into())
}

/// Concatenates JSON messages into a JSON array.
pub fn json_array<'a>(messages: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut body = Vec::with_capacity(messages.len() * 256 + 128);
    body.push(b'[');
    for (index, message) in messages.enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(message);
    }
    body.push(b']');
    body
}

/// Returns `{"items":[…]<rest>}`.
pub fn json_page<'a>(messages: impl ExactSizeIterator<Item = &'a [u8]>, rest: &str) -> Vec<u8> {
    let mut body = b"{\"items\":".to_vec();
    body.append(&mut json_array(messages));
    body.extend_from_slice(rest.as_bytes());
    body.push(b'}');
    body
}
