//! The API version that a client requests: `Accept: application/json; version=1`.

use actix_web::http::header::{ACCEPT, HeaderMap};

use crate::response::accept::{Alternative, alternatives};

/// Returns whether `Accept` allows version 1. Only media ranges that include JSON can name a
/// version of the API. Other media types have their own versions.
pub(super) fn is_acceptable(headers: &HeaderMap) -> bool {
    // Fast path: most clients do not request a version.
    let names_version = |value: &[u8]| value.windows(7).any(|w| w.eq_ignore_ascii_case(b"version"));
    if !headers.get_all(ACCEPT).any(|value| names_version(value.as_bytes())) {
        return true;
    }
    let mut names_other_version = false;
    for range in alternatives(headers, ACCEPT).filter(|range| range.weight > 0 && is_json(range)) {
        match range.parameter("version") {
            None | Some("1" | "1.0") => return true,
            Some(_) => names_other_version = true,
        }
    }
    !names_other_version
}

fn is_json(range: &Alternative<'_>) -> bool {
    let Some((kind, subtype)) = range.name.split_once('/') else { return false };
    let is_json = |subtype: &str| {
        subtype == "*"
            || subtype.eq_ignore_ascii_case("json")
            || subtype.to_ascii_lowercase().ends_with("+json")
    };
    range.name == "*/*" || (kind.eq_ignore_ascii_case("application") && is_json(subtype))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn only_version_1_is_acceptable() {
        let acceptable = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(text));
            is_acceptable(&headers)
        };
        assert!(is_acceptable(&HeaderMap::new()));
        for accept in [
            "*/*",
            "text/html",
            "application/json; version=1",
            "application/json; version=1.0",
            "application/json;q=0.5;Version=\"1\"",
            "application/json; version=2, */*",
            "application/json; version=2, application/json;version=1.0;q=0.1",
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
            "text/plain;version=0.0.4",
            "a/b; version=2, c/d; version=3",
            "application/json;version=2;q=0",
            "",
        ] {
            assert!(acceptable(accept), "{accept}");
        }
        for rejected in [
            "application/json; version=2",
            "application/json;version=1.1",
            "application/json;version=1;q=0, application/json;version=2",
            "application/vnd.mayfly+json;version=2",
            "application/json; VERSION=\"0\"",
            "*/*; version=2",
        ] {
            assert!(!acceptable(rejected), "{rejected}");
        }
    }
}
