//! The API version that a client requests: `Accept: application/json; version=1`.

use actix_web::http::header::{ACCEPT, HeaderMap};

/// Returns whether `Accept` allows version 1. Everything else in `Accept` is ignored.
pub(super) fn is_acceptable(headers: &HeaderMap) -> bool {
    let mut names_version = false;
    for value in headers.get_all(ACCEPT) {
        let Ok(text) = value.to_str() else { continue };
        // Fast path: most clients do not request a version.
        if !text.contains("ersion") && !text.contains("ERSION") {
            return true;
        }
        for range in text.split(',') {
            match parse_version(range) {
                None | Some("1") => return true,
                Some(_) => names_version = true,
            }
        }
    }
    !names_version
}

fn parse_version(range: &str) -> Option<&str> {
    range.split(';').skip(1).filter_map(|parameter| parameter.split_once('=')).find_map(
        |(name, value)| {
            name.trim().eq_ignore_ascii_case("version").then(|| value.trim().trim_matches('"'))
        },
    )
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
            "application/json;q=0.5;Version=\"1\"",
            "application/json; version=2, */*",
            "",
        ] {
            assert!(acceptable(accept), "{accept}");
        }
        for rejected in [
            "application/json; version=2",
            "application/json;version=1.1",
            "a/b; version=2, c/d; version=3",
        ] {
            assert!(!acceptable(rejected), "{rejected}");
        }
    }
}
