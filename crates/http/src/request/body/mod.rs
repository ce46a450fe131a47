//! Request bodies: media types, size limits, timeouts and memory.

mod buffer;
mod media_type;
mod memory;

use std::{
    future::{Ready, poll_fn, ready},
    rc::Rc,
    time::{Duration, Instant},
};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    dev::Payload,
    error::PayloadError,
    http::header::{CONTENT_ENCODING, CONTENT_LENGTH, ORIGIN},
    web,
};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

pub(crate) use self::memory::BodyBudget;
pub use self::memory::BodyMemory;
use self::{buffer::BodyBuffer, media_type::MediaType};
use super::{context::Context, query::parse_form};
use crate::{Code, Problem, connection::ConnectionState};

/// Maximum time for which the server reads and discards the body of a rejected request. If the body
/// ends within this time, the client can reuse the connection.
const DISCARD_TIMEOUT: Duration = Duration::from_millis(100);

/// The time for reading a body after which the caller is authenticated again: its credentials may
/// have been revoked or have expired since.
const RECHECK_AFTER: Duration = Duration::from_millis(250);

/// The maximum size of a body on a route, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimit(pub usize);

impl Default for BodyLimit {
    fn default() -> Self {
        Self(64 * 1024)
    }
}

/// Time limit for receiving a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyTimeout(pub(crate) Duration);

impl Default for BodyTimeout {
    fn default() -> Self {
        Self(Duration::from_secs(10))
    }
}

/// The format of a body that contains several documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFormat {
    /// A JSON array.
    Json,
    /// One document per line: `application/x-ndjson`.
    Ndjson,
}

/// The unread body of a request. The request can be rejected before its body is read.
pub struct UnreadBody {
    request: HttpRequest,
    payload: Payload,
}

/// A complete body. Its memory remains reserved until the body is dropped.
#[derive(Debug)]
pub struct Body {
    /// The content of the body.
    pub bytes: Bytes,
    memory: BodyMemory,
}

impl Body {
    /// Parses a form.
    ///
    /// # Errors
    /// See [`parse_form`].
    pub fn parse_form<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        parse_form(&self.bytes)
    }

    /// Releases the bytes of the body, and reserves `items_bytes` bytes for the items that were
    /// parsed from the body. The reservation ends when the returned value is dropped.
    ///
    /// # Errors
    /// Returns 503 `overloaded` if the items do not fit into the remaining memory for bodies.
    pub fn release(self, items_bytes: usize) -> Result<BodyMemory, Problem> {
        let Self { bytes, mut memory } = self;
        drop(bytes);
        memory.resize(items_bytes)?;
        Ok(memory)
    }
}

impl UnreadBody {
    /// Returns the value of `Content-Length`, or 0 if the length is not known.
    pub fn declared_bytes(&self) -> usize {
        self.content_length().unwrap_or_default()
    }

    /// Reads a body declared as JSON: `application/json` or `application/*+json`, in UTF-8.
    ///
    /// # Errors
    /// Returns 415 for any other media type or a content encoding other than `identity`, 413 for a
    /// body above the size limit of the route, 408 if the body takes longer than
    /// `http.body_timeout`, 503 if there is no memory for the body, and 400 if the body is
    /// incomplete or its transfer encoding is invalid.
    pub async fn read_json(self) -> Result<Body, Problem> {
        Ok(self.read_typed(&[MediaType::Json]).await?.1)
    }

    /// Reads a body declared as JSON, or as `text/plain` by a web page. `navigator.sendBeacon`
    /// always sends credentials, so it can send `application/json` to another origin only if the
    /// server allows credentials, which Mayfly does not. The origin must have been checked. An
    /// [`Endpoint`](crate::Endpoint) checks the origin before it calls a handler for `POST`.
    ///
    /// # Errors
    /// See [`Self::read_json`].
    pub async fn read_json_or_beacon(self) -> Result<Body, Problem> {
        let is_from_page = self.request.headers().contains_key(ORIGIN);
        let supported: &[_] =
            if is_from_page { &[MediaType::Json, MediaType::Text] } else { &[MediaType::Json] };
        Ok(self.read_typed(supported).await?.1)
    }

    /// Reads a body declared as JSON or as `application/x-ndjson`.
    ///
    /// # Errors
    /// See [`Self::read_json`].
    pub async fn read_json_or_ndjson(self) -> Result<(BodyFormat, Body), Problem> {
        let (kind, body) = self.read_typed(&[MediaType::Json, MediaType::Ndjson]).await?;
        let format = if kind == MediaType::Ndjson { BodyFormat::Ndjson } else { BodyFormat::Json };
        Ok((format, body))
    }

    /// Reads a body declared as a form: `application/x-www-form-urlencoded`.
    ///
    /// # Errors
    /// See [`Self::read_json`].
    pub async fn read_form(self) -> Result<Body, Problem> {
        Ok(self.read_typed(&[MediaType::Form]).await?.1)
    }

    /// Reads and discards the body for a short time, and returns `problem`.
    pub async fn reject(mut self, problem: Problem) -> Problem {
        self.discard().await;
        problem
    }

    async fn read_typed(self, supported: &[MediaType]) -> Result<(MediaType, Body), Problem> {
        let headers = self.request.headers();
        let kind = media_type::find(headers).filter(|kind| supported.contains(kind));
        let kind = kind.ok_or_else(|| media_type::unsupported(supported))?;
        let encoding = headers.get(CONTENT_ENCODING);
        if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Err(Problem::new(Code::UnsupportedMediaType)
                .detail("Unsupported content encoding: send the body without Content-Encoding."));
        }
        Ok((kind, self.read().await?))
    }

    /// Reads the complete body.
    async fn read(mut self) -> Result<Body, Problem> {
        let BodyLimit(limit) = self.request.app_data().copied().unwrap_or_default();
        let length_max = self.content_length().unwrap_or(limit);
        if length_max > limit {
            return Err(too_large(limit));
        }
        let started_at = Instant::now();
        let BodyTimeout(body_timeout) = self.request.app_data().copied().unwrap_or_default();
        let deadline = self.request.extensions().get::<Context>().and_then(Context::deadline);
        if let Some(deadline) = &deadline {
            deadline.pause_for(body_timeout);
        }
        let buffer = BodyBuffer::new(BodyMemory::new(self.request.app_data()), length_max);
        let collected = timeout(body_timeout, self.collect(buffer, limit));
        let body = collected.await.unwrap_or_else(|_| Err(Problem::new(Code::RequestTimeout)));
        if matches!(&body, Err(problem) if problem.code() == Code::Overloaded) {
            self.discard().await;
        }
        if let Some(deadline) = &deadline {
            deadline.restart();
        }
        let body = body?;
        if started_at.elapsed() >= RECHECK_AFTER {
            self.recheck_caller().await?;
        }
        Ok(body)
    }

    async fn recheck_caller(&self) -> Result<(), Problem> {
        let recheck = self.request.extensions().get::<Context>().and_then(Context::recheck);
        match recheck {
            Some(recheck) => recheck(&self.request).await,
            None => Ok(()),
        }
    }

    async fn collect(&mut self, mut buffer: BodyBuffer, limit: usize) -> Result<Body, Problem> {
        while let Some(chunk) = self.next_chunk().await {
            let chunk = chunk.map_err(|error| {
                Problem::new(Code::InvalidJson)
                    .detail("The request body is incomplete, or its transfer encoding is invalid.")
                    .caused_by(error)
            })?;
            if buffer.len() + chunk.len() > limit {
                return Err(too_large(limit));
            }
            buffer.push(chunk)?;
        }
        let (bytes, memory) = buffer.into_parts();
        Ok(Body { bytes, memory })
    }

    /// Returns the next chunk. The connection passes on a limited part of the body before the
    /// handler waits for more.
    async fn next_chunk(&mut self) -> Option<Result<Bytes, PayloadError>> {
        let Self { request, payload } = self;
        let connection = request.conn_data::<Rc<ConnectionState>>();
        poll_fn(|cx| {
            let chunk = payload.poll_next_unpin(cx);
            if let (true, Some(connection)) = (chunk.is_pending(), connection) {
                connection.expect_body();
            }
            chunk
        })
        .await
    }

    async fn discard(&mut self) {
        let discard = async { while let Some(Ok(_)) = self.next_chunk().await {} };
        // If the body is not read to the end, the HTTP library closes the connection.
        let _ = timeout(DISCARD_TIMEOUT, discard).await;
    }

    fn content_length(&self) -> Option<usize> {
        self.request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }
}

impl FromRequest for UnreadBody {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        ready(Ok(Self { request: request.clone(), payload: payload.take() }))
    }
}

fn too_large(limit: usize) -> Problem {
    Problem::new(Code::BodyTooLarge)
        .detail(format!("The body is too large: the limit of this route is {limit} bytes."))
}

/// Sets the body size limit of a resource.
pub(crate) fn set_body_limit(
    resource: actix_web::Resource,
    limit: BodyLimit,
) -> actix_web::Resource {
    resource.app_data(limit).app_data(web::PayloadConfig::new(limit.0))
}
