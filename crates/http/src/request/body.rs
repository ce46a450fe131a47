//! Request bodies: media types, size limits and timeouts.

use std::{future::Future, pin::Pin, time::Duration};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    dev::Payload,
    http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
    web,
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;

use super::{context::Context, query::parse_form};
use crate::{Code, Problem};

/// The size limit of the bodies of a route, in bytes.
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

/// A body declared as JSON: `application/json` in UTF-8, or `application/*+json`.
#[derive(Debug)]
pub struct JsonBody(pub Bytes);

/// A body that contains several documents.
#[derive(Debug)]
pub struct NdjsonOrJsonBody {
    /// The unparsed body.
    pub bytes: Bytes,
    /// The declared format.
    pub format: BodyFormat,
}

/// The format of a body that contains several documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFormat {
    /// A JSON array.
    Json,
    /// One document per line: `application/x-ndjson`.
    Ndjson,
}

/// A body declared as a form: `application/x-www-form-urlencoded`.
#[derive(Debug)]
pub struct FormBody(pub Bytes);

impl FormBody {
    /// Parses the form.
    ///
    /// # Errors
    /// See [`parse_form`].
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        parse_form(&self.0)
    }
}

/// Reads the complete body of a request.
///
/// # Errors
/// Returns 413 `body_too_large` above `limit` bytes, 408 `request_timeout` if the body takes longer
/// than `http.body_timeout`, and 400 if it is incomplete.
pub async fn read_body(
    request: &HttpRequest,
    payload: &mut Payload,
    limit: usize,
) -> Result<Bytes, Problem> {
    let declared = declared_length(request);
    if declared.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let BodyTimeout(timeout) = request.app_data().copied().unwrap_or_default();
    let deadline = request.extensions().get::<Context>().and_then(Context::deadline);
    if let Some(deadline) = &deadline {
        deadline.pause_for(timeout);
    }
    let body = tokio::time::timeout(timeout, collect(payload, declared.unwrap_or_default(), limit))
        .await
        .map_err(|_| Problem::new(Code::RequestTimeout))?;
    if let Some(deadline) = &deadline {
        deadline.restart();
    }
    body
}

/// Concatenates the chunks. A body of one chunk, which is the usual case, is not copied.
async fn collect(payload: &mut Payload, declared: usize, limit: usize) -> Result<Bytes, Problem> {
    let mut first = Bytes::new();
    let mut buffer = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| {
            Problem::new(Code::InvalidJson)
                .detail("The request body is incomplete, or its transfer encoding is invalid.")
                .caused_by(error)
        })?;
        if first.len() + buffer.len() + chunk.len() > limit {
            return Err(too_large(limit));
        }
        if first.is_empty() && buffer.is_empty() {
            first = chunk;
        } else {
            if buffer.is_empty() {
                buffer.reserve(declared.max(first.len() + chunk.len()));
                buffer.extend_from_slice(&std::mem::take(&mut first));
            }
            buffer.extend_from_slice(&chunk);
        }
    }
    Ok(if buffer.is_empty() { first } else { buffer.freeze() })
}

fn declared_length(request: &HttpRequest) -> Option<usize> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large(limit: usize) -> Problem {
    Problem::new(Code::BodyTooLarge)
        .detail(format!("The body is too large: the limit of this route is {limit} bytes."))
}

/// The declared media type of a body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MediaType {
    Json,
    Ndjson,
    Form,
}

/// Reads a body whose declared media type is among `supported`.
async fn read_typed_body(
    request: &HttpRequest,
    payload: &mut Payload,
    supported: &[MediaType],
) -> Result<(MediaType, Bytes), Problem> {
    let kind = media_type(request).filter(|kind| supported.contains(kind)).ok_or_else(|| {
        let detail = match supported {
            [MediaType::Form] => "Unsupported media type: expected application/x-www-form-urlencoded.",
            [MediaType::Json] => "Unsupported media type: expected application/json in UTF-8.",
            _ => "Unsupported media type: expected application/json or application/x-ndjson in UTF-8.",
        };
        Problem::new(Code::UnsupportedMediaType).detail(detail)
    })?;
    let encoding = request.headers().get(CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Problem::new(Code::UnsupportedMediaType)
            .detail("Unsupported content encoding: send the body without Content-Encoding."));
    }
    let BodyLimit(limit) = request.app_data().copied().unwrap_or_default();
    Ok((kind, read_body(request, payload, limit).await?))
}

fn media_type(request: &HttpRequest) -> Option<MediaType> {
    let text = request.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next()?;
    if !parts.all(is_utf8_or_not_charset) {
        return None;
    }
    if essence.eq_ignore_ascii_case("application/json") || is_structured_json(essence) {
        Some(MediaType::Json)
    } else if essence.eq_ignore_ascii_case("application/x-ndjson") {
        Some(MediaType::Ndjson)
    } else if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Some(MediaType::Form)
    } else {
        None
    }
}

fn is_structured_json(essence: &str) -> bool {
    let essence = essence.to_ascii_lowercase();
    essence
        .strip_prefix("application/")
        .and_then(|rest| rest.strip_suffix("+json"))
        .is_some_and(|name| !name.is_empty())
}

fn is_utf8_or_not_charset(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return true };
    let value = value.trim().trim_matches('"');
    !name.trim().eq_ignore_ascii_case("charset")
        || value.eq_ignore_ascii_case("utf-8")
        || value.eq_ignore_ascii_case("utf8")
}

type Extraction<T> = Pin<Box<dyn Future<Output = Result<T, Problem>>>>;

impl FromRequest for JsonBody {
    type Error = Problem;
    type Future = Extraction<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let (_, bytes) = read_typed_body(&request, &mut payload, &[MediaType::Json]).await?;
            Ok(Self(bytes))
        })
    }
}

impl FromRequest for NdjsonOrJsonBody {
    type Error = Problem;
    type Future = Extraction<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let (kind, bytes) =
                read_typed_body(&request, &mut payload, &[MediaType::Json, MediaType::Ndjson])
                    .await?;
            let format =
                if kind == MediaType::Ndjson { BodyFormat::Ndjson } else { BodyFormat::Json };
            Ok(Self { bytes, format })
        })
    }
}

impl FromRequest for FormBody {
    type Error = Problem;
    type Future = Extraction<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let (_, bytes) = read_typed_body(&request, &mut payload, &[MediaType::Form]).await?;
            Ok(Self(bytes))
        })
    }
}

/// Sets the body size limit of a resource.
pub(crate) fn set_body_limit(
    resource: actix_web::Resource,
    limit: BodyLimit,
) -> actix_web::Resource {
    resource.app_data(limit).app_data(web::PayloadConfig::new(limit.0))
}
