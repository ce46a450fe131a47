//! Cross-origin requests from browsers (CORS).

use actix_cors::Cors;
use actix_web::http::{
    Method,
    header::{ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, ORIGIN},
};
use mayfly_runtime::AllowedOrigins;

/// How long a browser may cache a preflight response, in seconds.
const PREFLIGHT_MAX_AGE_SECONDS: usize = 600;

/// The response headers that scripts may read.
const EXPOSED_HEADERS: [&str; 8] = [
    "Location",
    "Link",
    "ETag",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-Id",
    "Idempotent-Replayed",
];

/// Returns the middleware that allows requests from `origins`.
pub(crate) fn cors(origins: &AllowedOrigins) -> Cors {
    let cors = Cors::default()
        .allowed_methods([Method::GET, Method::HEAD, Method::POST, Method::DELETE, Method::OPTIONS])
        .allow_any_header()
        .expose_headers(EXPOSED_HEADERS)
        .max_age(PREFLIGHT_MAX_AGE_SECONDS);
    if origins.allows_any() {
        return cors.allow_any_origin().send_wildcard();
    }
    let origins = origins.clone();
    cors.allowed_origin_fn(move |origin, _| {
        origin.to_str().is_ok_and(|origin| origins.allows(origin))
    })
}

/// Converts a preflight request of an origin that is not allowed to a plain `OPTIONS` request, whose
/// response contains no CORS headers.
pub(super) fn strip_disallowed_preflight(origins: &AllowedOrigins, headers: &mut HeaderMap) {
    if !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        return;
    }
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok()).unwrap_or_default();
    if !origins.allows(origin) {
        headers.remove(ACCESS_CONTROL_REQUEST_METHOD);
    }
}
