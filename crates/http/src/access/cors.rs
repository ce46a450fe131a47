//! Cross-origin requests from browsers (CORS).

use actix_cors::Cors;
use actix_web::http::{
    Method,
    header::{
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_REQUEST_METHOD,
        HeaderMap, HeaderValue, ORIGIN, VARY,
    },
};
use mayfly_runtime::AllowedOrigins;

/// How long a browser may cache a preflight response, in seconds.
const PREFLIGHT_MAX_AGE_SECONDS: usize = 600;

/// The response headers that cross-origin scripts may read.
const EXPOSED_HEADERS: [&str; 11] = [
    "Location",
    "Link",
    "ETag",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-Id",
    "Idempotent-Replayed",
    "Mayfly-Accepted",
    "Mayfly-Stale",
    "Age",
];

/// Returns the middleware that allows cross-origin requests from `origins`.
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

/// Turns a preflight request into a plain `OPTIONS` request if its origin is not in `origins`, so
/// that the response contains no CORS headers.
pub(crate) fn strip_disallowed_preflight(origins: &AllowedOrigins, headers: &mut HeaderMap) {
    if !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        return;
    }
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok()).unwrap_or_default();
    if !origins.allows(origin) {
        headers.remove(ACCESS_CONTROL_REQUEST_METHOD);
    }
}

/// Writes the CORS headers to a response that does not pass through the middleware, so that scripts
/// from an allowed origin can read the response.
pub(crate) fn write_cors_headers(
    request: &HeaderMap,
    origins: &AllowedOrigins,
    response: &mut HeaderMap,
) {
    let Some(origin) = request.get(ORIGIN) else { return };
    if !origin.to_str().is_ok_and(|origin| origins.allows(origin)) {
        return;
    }
    let exposed = EXPOSED_HEADERS.join(", ");
    if let Ok(exposed) = HeaderValue::try_from(exposed) {
        response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
    if origins.allows_any() {
        response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    } else {
        response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        response.append(VARY, HeaderValue::from_static("Origin"));
    }
}
