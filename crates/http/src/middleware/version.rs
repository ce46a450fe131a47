//! The version of the API that a caller wants: `Accept: application/json; version=1`.

use actix_web::http::header::{ACCEPT, HeaderMap};

/// Whether version 1 is among what the caller takes. Nothing else in `Accept` is looked at.
pub(super) fn is_acceptable(headers: &HeaderMap) -> bool {
    let mut named = false;
    for value in headers.get_all(ACCEPT) {
        let Ok(text) = value.to_str() else { continue };
        // Most callers say nothing of versions.
        if !text.contains("ersion") && !text.contains("ERSION") {
            return true;
        }
        for range in text.split(',') {
            match version_of(range) {
                None | Some("1") => return true,
                Some(_) => named = true,
            }
        }
    }
    !named
}

fn version_of(range: &str) -> Option<&str> {
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
    fn version_one_is_acceptable_and_another_is_not() {
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
        for refused in [
            "application/json; version=2",
            "application/json;version=1.1",
            "a/b; version=2, c/d; version=3",
        ] {
            assert!(!acceptable(refused), "{refused}");
        }
    }
}
