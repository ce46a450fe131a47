//! The origin of the page that sent a request.
//!
//! Browsers send some requests to other origins without a preflight request (CORS): forms, images,
//! links, and `fetch` without custom headers. The origin of a request that writes, takes or
//! deletes is therefore checked before the request has any effect.

use actix_web::http::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, REFERER};
use mayfly_runtime::AllowedOrigins;

use crate::{Code, Problem};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Maximum length of an origin that an error message quotes, in characters.
const ORIGIN_CHARS_MAX: usize = 200;

/// Checks the origin of the page that sent a request. A request with neither `Origin` nor
/// `Sec-Fetch-Site` is allowed, because programs other than browsers send neither header.
///
/// # Errors
/// Returns 403 `forbidden` if the origin is not allowed.
pub(crate) fn check_origin(headers: &HeaderMap, origins: &AllowedOrigins) -> Result<(), Problem> {
    if is_origin_allowed(headers, origins) && is_referrer_allowed(headers, origins) {
        return Ok(());
    }
    let sent = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    let name = match sent {
        Some(origin) if origin.len() <= ORIGIN_CHARS_MAX => format!("The origin {origin} is"),
        Some(_) => "The origin is".to_owned(),
        None => "Pages of other origins are".to_owned(),
    };
    Err(Problem::new(Code::Forbidden).detail(format!(
        "{name} not allowed to write, take or delete: send the request from an origin in \
         MAYFLY_HTTP__ALLOWED_ORIGINS."
    )))
}

/// Returns the `Origin` of a request if it is neither the server's own origin nor an allowed
/// origin. Returns `None` for a request without `Origin`.
pub fn find_forbidden_origin(headers: &HeaderMap, origins: &AllowedOrigins) -> Option<String> {
    let origin = headers.get(ORIGIN).filter(|_| !is_origin_allowed(headers, origins))?;
    Some(String::from_utf8_lossy(origin.as_bytes()).into_owned())
}

/// Returns whether `Origin` is missing, is the server's own origin, or is allowed.
fn is_origin_allowed(headers: &HeaderMap, origins: &AllowedOrigins) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    origin.to_str().is_ok_and(|origin| is_allowed(origin, headers, origins))
}

/// Checks the page that sent a request without `Origin`. Returns `false` if `Sec-Fetch-Site`
/// reports another origin and `Referer` contains neither the server's own origin nor an allowed
/// origin, unless all origins are allowed. For images and links, browsers send no `Origin`, but
/// they send `Sec-Fetch-Site` (only over HTTPS and to localhost) and, by default, the origin of the
/// page in `Referer`.
fn is_referrer_allowed(headers: &HeaderMap, origins: &AllowedOrigins) -> bool {
    let site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
    // `same-site` includes other subdomains and ports.
    let is_other = matches!(site, Some(b"cross-site" | b"same-site"));
    if headers.contains_key(ORIGIN) || !is_other || origins.allows_any() {
        return true;
    }
    let referrer = headers.get(REFERER).and_then(|referrer| referrer.to_str().ok());
    referrer.is_some_and(|url| is_allowed(origin_of(url), headers, origins))
}

/// Returns the part of a URL before its path, query and fragment.
fn origin_of(url: &str) -> &str {
    let authority = url.find("://").map_or(url.len(), |end| end + 3);
    let end = url[authority..].find(['/', '?', '#']);
    end.map_or(url, |length| &url[..authority + length])
}

/// Returns whether an origin has the host and port of the request, or is in `origins`.
fn is_allowed(origin: &str, headers: &HeaderMap, origins: &AllowedOrigins) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    host.is_some_and(|host| is_same_origin(origin, host)) || origins.allows(origin)
}

/// Returns whether an origin has the host and port in `host`. The scheme of the request is not
/// compared, because it is unknown behind a proxy that terminates TLS.
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

    fn passes(allowed: &str, headers: &[(&str, &str)]) -> bool {
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
    const SAME_SITE: (&str, &str) = ("sec-fetch-site", "same-site");

    #[test]
    fn same_allowed_and_absent_origins_pass() {
        assert!(passes("", &[HOST]));
        assert!(passes("", &[HOST, ("origin", "https://api.example.org:8081")]));
        assert!(passes("", &[("host", "a.org:443"), ("origin", "https://a.org")]));
        assert!(passes("", &[("host", "A.org"), ("origin", "http://a.org")]));
        let allowed = "https://example.org";
        assert!(passes(allowed, &[HOST, ("origin", "https://example.org"), CROSS_SITE]));
        for site in ["none", "same-origin"] {
            assert!(passes("", &[HOST, ("sec-fetch-site", site)]), "{site}");
        }
        assert!(passes("*", &[HOST, ("origin", "http://evil.example"), CROSS_SITE]));
        assert!(passes("*", &[HOST, CROSS_SITE]));
    }

    /// Browsers send no `Origin` when they load an image or follow a link.
    #[test]
    fn pages_without_origin_pass_with_an_allowed_referrer() {
        let allowed = "https://example.org";
        for site in [CROSS_SITE, SAME_SITE] {
            for (referrer, is_allowed) in [
                ("https://example.org/page?q=1", true),
                ("https://example.org", true),
                ("https://example.org#x", true),
                ("https://api.example.org:8081/docs", true),
                ("https://other.example.org/page", false),
                ("https://example.org.evil.net/", false),
                ("https://evil.net/?https://example.org/", false),
                ("https://example.org@evil.net/", false),
                ("evil.net?https://example.org", false),
                ("", false),
            ] {
                let headers = [HOST, site, ("referer", referrer)];
                assert_eq!(passes(allowed, &headers), is_allowed, "{site:?} {referrer}");
            }
            assert!(!passes(allowed, &[HOST, site]), "{site:?}");
            let both = [HOST, site, ("origin", "null"), ("referer", "https://example.org/")];
            assert!(!passes(allowed, &both), "{site:?}");
        }
    }

    #[test]
    fn pages_of_other_origins_do_not_pass() {
        for allowed in ["", "https://example.org"] {
            for origin in [
                "http://evil.example",
                "null",
                "http://api.example.org",
                "http://api.example.org:80",
                "api.example.org:8081",
                "",
            ] {
                assert!(!passes(allowed, &[HOST, ("origin", origin)]), "{origin}");
            }
            assert!(!passes(allowed, &[HOST, CROSS_SITE]));
            assert!(!passes(allowed, &[("origin", "http://evil.example")]));
        }
        assert!(!passes("", &[("host", "a.org:80"), ("origin", "https://a.org")]));
    }
}
