//! The documentation of an API: its files, and the redirect from `/`.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{ACCEPT, HeaderMap, LOCATION, VARY},
    web::ServiceConfig,
};

use super::{StaticFile, resource};
use crate::{Code, Problem};

/// The documentation files of an API. Clones share the files.
#[derive(Clone, Debug)]
pub struct Docs {
    files: Vec<StaticFile>,
    /// The URL to which `/` redirects browsers.
    page: String,
}

impl Docs {
    /// Creates the documentation from its files. `/` redirects browsers to `page`.
    pub fn new(files: Vec<StaticFile>, page: &str) -> Self {
        Self { files, page: page.to_owned() }
    }

    /// Registers the files and the redirect.
    pub fn configure(&self, config: &mut ServiceConfig) {
        for file in &self.files {
            config.service(file.endpoint());
        }
        let page = self.page.clone();
        config.service(resource("/").get(move |request: HttpRequest| {
            let response = redirect_browser(&page, &request);
            async move { response }
        }));
    }
}

/// Redirects a browser to the page. Other clients receive 404.
fn redirect_browser(page: &str, request: &HttpRequest) -> Result<HttpResponse, Problem> {
    if accepts_html(request.headers()) {
        let mut response = HttpResponse::Found();
        return Ok(response
            .insert_header((LOCATION, page))
            .insert_header((VARY, "Accept"))
            .finish());
    }
    Err(Problem::new(Code::NotFound))
}

fn accepts_html(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_html = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/html"));
        let is_excluded = parts
            .filter_map(|part| part.strip_prefix("q="))
            .any(|q| q.parse().is_ok_and(|q: f32| q <= 0.0));
        is_html && !is_excluded
    })
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn html_is_accepted_if_named_and_not_excluded() {
        let accepts = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(text));
            accepts_html(&headers)
        };
        assert!(!accepts_html(&HeaderMap::new()));
        for accepted in ["text/html", "application/json, Text/HTML;q=0.9", "text/html;level=1"] {
            assert!(accepts(accepted), "{accepted}");
        }
        for rejected in ["*/*", "text/*", "application/json", "text/html;q=0", "text/htmlx"] {
            assert!(!accepts(rejected), "{rejected}");
        }
    }
}
