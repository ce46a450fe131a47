//! Static files, served with an `ETag` and compressed once.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, OnceLock},
};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY},
    },
    web,
};
use bytes::Bytes;

use super::{Endpoint, resource};
use crate::{
    NoQuery, Problem,
    response::{SharedBody, encoding},
    routes::Route,
};

/// A file that does not change while the process runs. Clones share the content.
#[derive(Clone, Debug)]
pub struct StaticFile {
    path: &'static str,
    content_type: &'static str,
    body: Bytes,
    /// A weak tag, because the plain and the compressed content have the same tag.
    etag: String,
    headers: Vec<(&'static str, String)>,
    allows_query: bool,
    /// The compressed content, created on first use.
    compressed: Arc<OnceLock<Option<Bytes>>>,
}

/// Returns the `Content-Security-Policy` for a page that may load files from its own origin, and
/// may connect to its own origin and to the origins of `urls`. An empty URL means the page's own
/// origin.
pub fn content_security_policy(urls: impl IntoIterator<Item = String>) -> String {
    let mut connect = String::from("'self'");
    for url in urls {
        let Some((scheme, rest)) = url.split_once("://") else { continue };
        let authority = rest.split(['/', ';', ',']).next().unwrap_or_default();
        connect.extend([" ", scheme, "://", authority]);
    }
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src {connect}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

impl StaticFile {
    /// Creates a file that is served at `path`.
    pub fn new(path: &'static str, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        // The hash only distinguishes builds, so it does not need collision resistance.
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        Self {
            path,
            content_type,
            body,
            etag: format!("W/\"{:016x}\"", hasher.finish()),
            headers: Vec::new(),
            allows_query: true,
            compressed: Arc::default(),
        }
    }

    /// Adds a response header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Rejects requests with a query. By default, the query is ignored.
    #[must_use]
    pub fn reject_query(mut self) -> Self {
        self.allows_query = false;
        self
    }

    /// Returns the endpoint that serves the file.
    pub fn endpoint(&self) -> Endpoint {
        let (file, route) = (self.clone(), Route::public(self.path, "GET, HEAD, OPTIONS"));
        resource(&route).get(move |request: HttpRequest| {
            let file = file.clone();
            async move { file.respond(&request).await }
        })
    }

    async fn respond(&self, request: &HttpRequest) -> Result<HttpResponse, Problem> {
        if !self.allows_query {
            NoQuery::extract(request).into_inner()?;
        }
        let mut response = HttpResponse::Ok();
        response.insert_header((ETAG, self.etag.as_str()));
        // Clients revalidate the file on every use, so they do not mix files from different builds.
        // The response to a revalidation is usually 304.
        response.insert_header((CACHE_CONTROL, "no-cache"));
        for (name, value) in &self.headers {
            response.insert_header((*name, value.as_str()));
        }
        if self.is_not_modified(request) {
            return Ok(response.status(StatusCode::NOT_MODIFIED).finish());
        }
        response.insert_header((CONTENT_TYPE, self.content_type));
        if encoding::accepts_gzip(request.headers())
            && let Some(compressed) = self.compress().await
        {
            response
                .insert_header((CONTENT_ENCODING, "gzip"))
                .insert_header((VARY, "Accept-Encoding"));
            return Ok(response.body(SharedBody::new(compressed)));
        }
        Ok(response.body(SharedBody::new(self.body.clone())))
    }

    fn is_not_modified(&self, request: &HttpRequest) -> bool {
        let cached = request.headers().get(IF_NONE_MATCH).and_then(|cached| cached.to_str().ok());
        let opaque_tag = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        let own = opaque_tag(&self.etag);
        cached.is_some_and(|cached| {
            cached.split(',').any(|one| one.trim() == "*" || opaque_tag(one) == own)
        })
    }

    /// Returns the compressed content, or `None` if compression is not worthwhile or fails.
    async fn compress(&self) -> Option<Bytes> {
        if !encoding::is_worth_compressing(self.content_type, self.body.len()) {
            return None;
        }
        if let Some(compressed) = self.compressed.get() {
            return compressed.clone();
        }
        let file = self.clone();
        let compressed = web::block(move || {
            file.compressed.get_or_init(|| encoding::compress_best(&file.body)).clone()
        });
        compressed.await.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin};

    use actix_web::{body::MessageBody, test::TestRequest};

    use super::*;

    /// Returns the pieces of a response body that is not counted as unread.
    async fn collect_pieces(file: &StaticFile, request: &HttpRequest) -> Vec<Bytes> {
        let response = file.respond(request).await.expect("a response");
        let body = response.into_body().try_into_bytes();
        let mut body = pin!(body.expect_err("the body is not passed on in one piece"));
        let mut pieces = Vec::new();
        while let Some(piece) = poll_fn(|cx| body.as_mut().poll_next(cx)).await {
            pieces.push(piece.expect("a piece"));
        }
        pieces
    }

    #[tokio::test]
    async fn responses_share_the_content() {
        let numbers: Vec<_> = (0..40_000).map(|number: u32| number.to_string()).collect();
        let file = StaticFile::new("/file", "text/plain", numbers.join(" "));
        let plain = TestRequest::default().to_http_request();
        let gzip = TestRequest::default().insert_header(("accept-encoding", "gzip"));
        for request in [plain, gzip.to_http_request()] {
            let [first, second] = [(); 2].map(|()| collect_pieces(&file, &request));
            let (first, second) = (first.await, second.await);
            assert!(first.len() > 1 && first.iter().all(|piece| piece.len() <= 32 << 10));
            let addresses =
                |pieces: &[Bytes]| pieces.iter().map(|piece| piece.as_ptr()).collect::<Vec<_>>();
            assert_eq!(addresses(&first), addresses(&second), "the content is not copied");
        }
        let plain = TestRequest::default().to_http_request();
        assert_eq!(collect_pieces(&file, &plain).await.concat(), file.body);
    }
}
