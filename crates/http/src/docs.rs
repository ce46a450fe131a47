//! What an API shows of itself: a document, a page, and the way there from `/`.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{ACCEPT, HeaderMap, LOCATION, VARY},
    web::ServiceConfig,
};

use crate::{Code, File, Problem, resource};

/// The files that an API shows of itself. Its clones are the same ones.
#[derive(Clone, Debug)]
pub struct Docs {
    files: Vec<File>,
    /// Where who comes to `/` with a browser is sent.
    page: String,
}

impl Docs {
    /// These files, of which one is the page.
    pub fn new(files: Vec<File>, page: &str) -> Self {
        Self { files, page: page.to_owned() }
    }

    /// Puts them on a server, and the way there.
    pub fn configure(&self, config: &mut ServiceConfig) {
        for file in &self.files {
            config.service(file.endpoint());
        }
        let page = self.page.clone();
        config.service(resource("/").get(move |request: HttpRequest| {
            let answer = send_to(&page, &request);
            async move { answer }
        }));
    }
}

/// Sends a browser to the page; for anybody else there is nothing here.
fn send_to(page: &str, request: &HttpRequest) -> Result<HttpResponse, Problem> {
    if takes_html(request.headers()) {
        let mut answer = HttpResponse::Found();
        return Ok(answer.insert_header((LOCATION, page)).insert_header((VARY, "Accept")).finish());
    }
    Err(Problem::new(Code::NotFound))
}

fn takes_html(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/html"));
        let refused = parts
            .filter_map(|part| part.strip_prefix("q="))
            .any(|q| q.parse().is_ok_and(|q: f32| q <= 0.0));
        named && !refused
    })
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn html_is_taken_where_it_is_named_and_not_refused() {
        let takes = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(text));
            takes_html(&headers)
        };
        assert!(!takes_html(&HeaderMap::new()));
        for taken in ["text/html", "application/json, Text/HTML;q=0.9", "text/html;level=1"] {
            assert!(takes(taken), "{taken}");
        }
        for refused in ["*/*", "text/*", "application/json", "text/html;q=0", "text/htmlx"] {
            assert!(!takes(refused), "{refused}");
        }
    }
}
