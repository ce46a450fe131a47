//! The HTML page that shows a response.

use std::{borrow::Cow, fmt::Write};

use actix_web::{
    HttpRequest,
    http::{StatusCode, header::HeaderMap},
};

use super::{
    STYLE_PATH,
    highlight::{escape, highlight},
    links::{find_list_link, root_of},
};

/// Maximum number of bytes of a document that a page shows. Larger documents are truncated, because
/// browsers render them slowly.
const SHOWN_BYTES_MAX: usize = 256 * 1024;

/// The request and the response that a page shows.
pub(super) struct Page<'a> {
    pub(super) request: &'a HttpRequest,
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    pub(super) json: &'a [u8],
    /// The URL fragment that identifies the operation on the documentation page.
    pub(super) fragment: Option<&'a str>,
}

impl Page<'_> {
    /// Renders the page. Text that a client may have chosen is escaped.
    pub(super) fn render(&self) -> String {
        let path = self.request.uri().path();
        let root = root_of(path);
        let target = self.request.uri().path_and_query().map_or(path, |target| target.as_str());
        // The page is the same for `HEAD` and `GET`, so that `Content-Length` is the same.
        let request = format!("GET {}", escape(target));
        let status = escape(&self.status.to_string()).into_owned();
        let style = format!("{root}{}", STYLE_PATH.trim_start_matches('/'));
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{request} · {status}</title>\n<link rel=\"stylesheet\" href=\"{style}\">\n\
             <main>\n<h1><code>{request}</code></h1>\n<p class=\"status\">{status}</p>\n"
        );
        self.render_links(&mut page, &root);
        self.render_headers(&mut page);
        self.render_body(&mut page);
        page.push_str("</main>\n</html>\n");
        page
    }

    fn render_links(&self, page: &mut String, root: &str) {
        let fragment = self.fragment.unwrap_or_default();
        let docs = (format!("{root}docs{fragment}"), "Documentation of this operation");
        let links = find_list_link(self.request, self.headers, self.json, root);
        page.push_str("<nav>\n");
        for (url, text) in std::iter::once(docs).chain(links) {
            // Writing to a string cannot fail.
            let _ = writeln!(page, "<a href=\"{}\">{text}</a>", escape(&url));
        }
        page.push_str("</nav>\n");
    }

    fn render_headers(&self, page: &mut String) {
        page.push_str("<dl>\n");
        let mut headers: Vec<_> = self.headers.iter().collect();
        headers.sort_by_key(|(name, _)| name.as_str());
        for (name, value) in headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            let _ = writeln!(page, "<dt>{name}</dt><dd>{}</dd>", escape(&value));
        }
        page.push_str("</dl>\n");
    }

    fn render_body(&self, page: &mut String) {
        let is_complete = self.json.len() <= SHOWN_BYTES_MAX;
        let shown = &self.json[..self.json.len().min(SHOWN_BYTES_MAX)];
        let shown: Cow<'_, str> = String::from_utf8_lossy(shown);
        page.push_str("<pre>");
        if is_complete {
            highlight(&shown, page);
        } else {
            page.push_str(&escape(&shown));
        }
        page.push_str("</pre>\n");
        if !is_complete {
            let (shown, all) = (SHOWN_BYTES_MAX, self.json.len());
            let _ = writeln!(
                page,
                "<p>The first {shown} of {all} bytes. Send <code>Accept: application/json</code> to \
                 receive all of them, or use a smaller <code>limit</code>.</p>"
            );
        }
    }
}
