//! The origin of the page that caused a request.
//!
//! Browsers send some requests of foreign pages without asking the server (CORS): forms, images,
//! links, and `fetch` without special headers. A request that writes, takes or deletes is therefore
//! checked before it has any effect.

use actix_web::http::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use mayfly_runtime::AllowedOrigins;

use crate::{Code, Problem};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// The longest origin that a problem repeats.
const ORIGIN_CHARS_MAX: usize = 200;

/// Checks that a page that may use the API caused a request. A request with neither `Origin` nor
/// `Sec-Fetch-Site` does not come from a current browser.
///
/// # Errors
/// Returns 403 `forbidden`.
pub(crate) fn check_origin(headers: &HeaderMap, origins: &AllowedOrigins) -> Result<(), Problem> {
    if is_origin_allowed(headers, origins) {
        // Browsers send no `Origin` for images and links. Their page is unknown.
        let site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
        if headers.contains_key(ORIGIN) || site != Some(b"cross-site") || origins.allows_any() {
            return Ok(());
        }
    }
    let sent = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    let name = match sent {
        Some(origin) if origin.len() <= ORIGIN_CHARS_MAX => format!("The origin {origin} is"),
        Some(_) => "The origin is".to_owned(),
        None => "Other sites are".to_owned(),
    };
    Err(Problem::new(Code::Forbidden).detail(format!(
        "{name} not allowed to write, take or delete: send the request from an origin in \
         MAYFLY_HTTP__ALLOWED_ORIGINS."
    )))
}

/// Returns the `Origin` of a request if it is neither the same origin nor allowed. A request without
/// `Origin` does not come from a page of another origin.
pub fn find_forbidden_origin(headers: &HeaderMap, origins: &AllowedOrigins) -> Option<String> {
    let origin = headers.get(ORIGIN).filter(|_| !is_origin_allowed(headers, origins))?;
    Some(String::from_utf8_lossy(origin.as_bytes()).into_owned())
}

/// Returns whether `Origin` is missing, the same origin (host and port), or allowed.
fn is_origin_allowed(headers: &HeaderMap, origins: &AllowedOrigins) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    host.is_some_and(|host| is_same_origin(origin, host)) || origins.allows(origin)
}

/// Returns whether an origin addresses `host`. The scheme of the request is unknown behind a proxy
/// that terminates TLS.
fn is_same_origin(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default_port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    let host = host.strip_suffix(default_port).unwrap_or(host);
    authority.eq_ignore_ascii_case(host)
}

#[cfg(test)]
mod tests {
    use mayfly_runtime::Settings;

    use super::*;

    fn is_allowed(allowed: &str, headers: &[(&str, &str)]) -> bool {
        let list = ("MAYFLY_HTTP__ALLOWED_ORIGINS".to_owned(), allowed.to_owned());
        let settings = Settings::from_layers(None, [list].into_iter()).expect("settings");
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            map.insert(name, HeaderValue::from_str(value).expect("a value"));
        }
        check_origin(&map, &settings.http.allowed_origins).is_ok()
    }

    const HOST: (&str, &str) = ("host", "api.example.org:8081");
    const CROSS_SITE: (&str, &str) = ("sec-fetch-site", "cross-site");

    #[test]
    fn same_allowed_and_absent_origins_pass() {
        assert!(is_allowed("", &[HOST]));
        assert!(is_allowed("", &[HOST, ("origin", "https://api.example.org:8081")]));
        assert!(is_allowed("", &[("host", "a.org:443"), ("origin", "https://a.org")]));
        assert!(is_allowed("", &[("host", "A.org"), ("origin", "http://a.org")]));
        let allowed = "https://example.org";
        assert!(is_allowed(allowed, &[HOST, ("origin", "https://example.org"), CROSS_SITE]));
        for site in ["none", "same-origin", "same-site"] {
            assert!(is_allowed("", &[HOST, ("sec-fetch-site", site)]), "{site}");
        }
        assert!(is_allowed("*", &[HOST, ("origin", "http://evil.example"), CROSS_SITE]));
        assert!(is_allowed("*", &[HOST, CROSS_SITE]));
    }

    #[test]
    fn foreign_pages_do_not_pass() {
        for allowed in ["", "https://example.org"] {
            for origin in [
                "http://evil.example",
                "null",
                "http://api.example.org",
                "http://api.example.org:80",
                "api.example.org:8081",
                "",
            ] {
                assert!(!is_allowed(allowed, &[HOST, ("origin", origin)]), "{origin}");
            }
            assert!(!is_allowed(allowed, &[HOST, CROSS_SITE]));
            assert!(!is_allowed(allowed, &[("origin", "http://evil.example")]));
        }
        assert!(!is_allowed("", &[("host", "a.org:80"), ("origin", "https://a.org")]));
    }
}
