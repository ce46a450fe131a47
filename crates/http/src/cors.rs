//! Which pages may call from a browser.

use actix_cors::Cors;
use actix_web::http::{
    Method,
    header::{ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, ORIGIN},
};
use mayfly_runtime::AllowedOrigins;

/// How long a browser may keep what it asked before, in seconds.
const PREFLIGHT_SECONDS: usize = 600;

const EXPOSED: [&str; 8] = [
    "Location",
    "Link",
    "ETag",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-Id",
    "Idempotent-Replayed",
];

/// Makes the layer that tells browsers which pages may call.
pub(crate) fn layer(origins: &AllowedOrigins) -> Cors {
    let cors = Cors::default()
        .allowed_methods([Method::GET, Method::HEAD, Method::POST, Method::DELETE, Method::OPTIONS])
        .allow_any_header()
        .expose_headers(EXPOSED)
        .max_age(PREFLIGHT_SECONDS);
    if origins.allows_any() {
        return cors.allow_any_origin().send_wildcard();
    }
    let origins = origins.clone();
    cors.allowed_origin_fn(move |origin, _| {
        origin.to_str().is_ok_and(|origin| origins.allows(origin))
    })
}

/// Makes a preflight of a foreign page a plain `OPTIONS`: it is answered as any other, without a word that allows.
pub(crate) fn forget_foreign_preflight(origins: &AllowedOrigins, headers: &mut HeaderMap) {
    if !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        return;
    }
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok()).unwrap_or_default();
    if !origins.allows(origin) {
        headers.remove(ACCESS_CONTROL_REQUEST_METHOD);
    }
}
