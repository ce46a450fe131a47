//! The documentation of an API: its files, and the redirect from `/`.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{ACCEPT, HeaderMap, LOCATION, VARY},
    web::ServiceConfig,
};

use super::{StaticFile, resource};
use crate::{
    Code, Problem,
    response::{
        accept::alternatives,
        browsable::{OperationFragments, STYLE, STYLE_PATH},
    },
    routes,
};

/// The documentation of an API. Clones share the contents of its files.
#[derive(Clone, Debug)]
pub struct Docs {
    files: Vec<StaticFile>,
    /// The URL that `/` redirects browsers to.
    page: String,
    fragments: OperationFragments,
}

impl Docs {
    /// Creates the documentation from its files. `/` redirects browsers to `page`.
    pub fn new(mut files: Vec<StaticFile>, page: &str) -> Self {
        files.push(StaticFile::new(STYLE_PATH, "text/css; charset=utf-8", STYLE));
        Self { files, page: page.to_owned(), fragments: OperationFragments::default() }
    }

    /// Sets the URL fragments that identify `GET` operations on the page, by route: for example,
    /// `#/messages/list_messages` for `/v1/messages`. Pages that browsers receive instead of JSON
    /// link to these operations.
    #[must_use]
    pub fn operations(mut self, fragments: impl IntoIterator<Item = (String, String)>) -> Self {
        self.fragments = OperationFragments(Arc::new(fragments.into_iter().collect()));
        self
    }

    /// Registers the files and the redirect.
    pub fn configure(&self, config: &mut ServiceConfig) {
        config.app_data(self.fragments.clone());
        for file in &self.files {
            config.service(file.endpoint());
        }
        let page = self.page.clone();
        config.service(resource(&routes::HOME).get(move |request: HttpRequest| {
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

/// Returns whether the client explicitly accepts HTML.
fn accepts_html(headers: &HeaderMap) -> bool {
    let mut ranges = alternatives(headers, ACCEPT);
    ranges.any(|range| range.name.eq_ignore_ascii_case("text/html") && range.weight > 0)
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
