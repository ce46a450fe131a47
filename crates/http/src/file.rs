//! Files that do not change while the process runs: served with a tag, compressed once.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, OnceLock},
};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
    web,
};
use bytes::Bytes;

use crate::{Endpoint, NoQuery, Problem, encoding, resource};

/// A file that does not change while the process runs. Its clones are the same one.
#[derive(Clone, Debug)]
pub struct File {
    path: &'static str,
    kind: &'static str,
    body: Bytes,
    /// Weak, because both codings of the file have it.
    tag: String,
    headers: Vec<(&'static str, String)>,
    takes_parameters: bool,
    /// Made when somebody first wants it.
    compressed: Arc<OnceLock<Option<Bytes>>>,
}

/// The policy of a page that may load its own files, and talk to its own origin and to those of these
/// URLs; nothing else. An empty URL is its own origin.
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

impl File {
    /// A file at a path, with its content type.
    pub fn new(path: &'static str, kind: &'static str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        // Not against anybody who tries: only to tell one build from the next.
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        Self {
            path,
            kind,
            body,
            tag: format!("W/\"{:016x}\"", hasher.finish()),
            headers: Vec::new(),
            takes_parameters: true,
            compressed: Arc::default(),
        }
    }

    /// Adds a header to its answers.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Refuses parameters, which are passed over otherwise.
    #[must_use]
    pub fn without_parameters(mut self) -> Self {
        self.takes_parameters = false;
        self
    }

    /// The path that it is served at.
    pub fn endpoint(&self) -> Endpoint {
        let file = self.clone();
        resource(self.path).get(move |request: HttpRequest| {
            let file = file.clone();
            async move { file.answer(&request).await }
        })
    }

    async fn answer(&self, request: &HttpRequest) -> Result<HttpResponse, Problem> {
        if !self.takes_parameters {
            NoQuery::extract(request).into_inner()?;
        }
        let mut answer = HttpResponse::Ok();
        answer.insert_header((ETAG, self.tag.as_str()));
        // Always asked for again, and mostly answered in a word: nobody has old parts beside new ones.
        answer.insert_header((CACHE_CONTROL, "no-cache"));
        answer.insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"));
        for (name, value) in &self.headers {
            answer.insert_header((*name, value.as_str()));
        }
        if self.is_known_to(request) {
            return Ok(answer.status(StatusCode::NOT_MODIFIED).finish());
        }
        answer.insert_header((CONTENT_TYPE, self.kind));
        if encoding::accepts_gzip(request.headers())
            && let Some(compressed) = self.compress().await
        {
            answer
                .insert_header((CONTENT_ENCODING, "gzip"))
                .insert_header((VARY, "Accept-Encoding"));
            return Ok(answer.body(compressed));
        }
        Ok(answer.body(self.body.clone()))
    }

    fn is_known_to(&self, request: &HttpRequest) -> bool {
        let known = request.headers().get(IF_NONE_MATCH).and_then(|known| known.to_str().ok());
        let version = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        let own = version(&self.tag);
        known.is_some_and(|known| {
            known.split(',').any(|one| one.trim() == "*" || version(one) == own)
        })
    }

    /// The file compressed, where that is worth it.
    async fn compress(&self) -> Option<Bytes> {
        if !encoding::is_worth_it(self.kind, self.body.len()) {
            return None;
        }
        if let Some(made) = self.compressed.get() {
            return made.clone();
        }
        let file = self.clone();
        let made = web::block(move || {
            file.compressed.get_or_init(|| encoding::deflate_well(&file.body)).clone()
        });
        made.await.ok().flatten()
    }
}
