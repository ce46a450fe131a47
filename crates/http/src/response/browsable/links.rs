//! The links on a page. The links are relative to the URL of the page, so that they work behind a
//! proxy that serves the API under a path prefix. An absolute URL in the `Link` header is not
//! changed.

use actix_web::{
    HttpRequest,
    http::header::{HeaderMap, LINK},
};
use serde::Deserialize;

/// Returns the relative URL from a path to the root of the service.
pub(super) fn root_of(path: &str) -> String {
    let levels = path.bytes().filter(|byte| *byte == b'/').count().saturating_sub(1);
    if levels == 0 { "./".to_owned() } else { "../".repeat(levels) }
}

/// Returns the URL and the text of the link to the next page of a list or, after the last page, to
/// items that are stored later. Returns `None` if the response has neither a next page nor a
/// cursor.
pub(super) fn find_list_link(
    request: &HttpRequest,
    headers: &HeaderMap,
    json: &[u8],
    root: &str,
) -> Option<(String, &'static str)> {
    #[derive(Deserialize)]
    struct List {
        next_cursor: Option<String>,
    }
    if let Some(next) = headers.get(LINK).and_then(|link| find_next(link.to_str().ok()?)) {
        let url = next.strip_prefix('/').map_or(next.to_owned(), |path| format!("{root}{path}"));
        return Some((url, "Next page"));
    }
    let cursor = serde_json::from_slice::<List>(json).ok()?.next_cursor?;
    let query = request.query_string().split('&');
    let kept = query.filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="));
    let pairs: Vec<_> = kept.map(str::to_owned).chain([format!("cursor={cursor}")]).collect();
    Some((format!("?{}", pairs.join("&")), "Items stored later"))
}

/// Returns the URL in `<url>; rel="next"`. Returns `None` for a scheme such as `javascript:`.
fn find_next(link: &str) -> Option<&str> {
    let (url, parameters) = link.strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.contains("rel=\"next\"");
    let is_web = url.starts_with('/') || url.starts_with("http://") || url.starts_with("https://");
    (is_next && is_web).then_some(url)
}

#[cfg(test)]
mod tests {
    use actix_web::{http::header::HeaderValue, test::TestRequest};

    use super::*;

    #[test]
    fn root_is_relative_to_the_path() {
        for (path, root) in [
            ("/", "./"),
            ("/health", "./"),
            ("/v1/messages", "../"),
            ("/stat/get/", "../../"),
            ("/v1/users/a%2Fb/messages", "../../../"),
        ] {
            assert_eq!(root_of(path), root, "{path}");
        }
    }

    #[test]
    fn next_page_is_the_link_and_later_items_follow_the_cursor() {
        let request =
            TestRequest::with_uri("/v1/messages?limit=5&cursor=a&order=asc").to_http_request();
        let mut headers = HeaderMap::new();
        let json = br#"{"items":[],"next_cursor":"1a2f","has_more":false}"#;
        let later = ("?limit=5&order=asc&cursor=1a2f".to_owned(), "Items stored later");
        assert_eq!(find_list_link(&request, &headers, json, "../"), Some(later));
        for (link, url) in [
            ("</v1/messages?cursor=b>; rel=\"next\"", "../v1/messages?cursor=b"),
            ("<https://a.org/x>; rel=\"next\"", "https://a.org/x"),
        ] {
            headers.insert(LINK, HeaderValue::from_static(link));
            let next = (url.to_owned(), "Next page");
            assert_eq!(find_list_link(&request, &headers, json, "../"), Some(next));
        }
        headers.insert(LINK, HeaderValue::from_static("<javascript:x>; rel=\"next\""));
        assert_eq!(find_list_link(&request, &headers, b"[]", "../"), None);
        assert_eq!(find_list_link(&request, &headers, b"{\"next_cursor\":null}", "../"), None);
    }
}
