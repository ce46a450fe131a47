//! The bodies of requests: what kinds are taken, how large, how long.

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

use crate::{Code, Problem, middleware::Context, query::parse_form};

/// How large the body of a route may be, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimit(pub usize);

impl Default for BodyLimit {
    fn default() -> Self {
        Self(64 * 1024)
    }
}

/// How long the body of a request may take to arrive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyTimeout(pub(crate) Duration);

impl Default for BodyTimeout {
    fn default() -> Self {
        Self(Duration::from_secs(10))
    }
}

/// A body that says it is JSON: `application/json` in UTF-8, or `application/*+json`.
#[derive(Debug)]
pub struct JsonBody(pub Bytes);

/// A body of several documents.
#[derive(Debug)]
pub struct NdjsonOrJsonBody {
    /// The body as it came.
    pub bytes: Bytes,
    /// What it says it is.
    pub format: Format,
}

/// How several documents stand in one body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A JSON array.
    Json,
    /// One document per line: `application/x-ndjson`.
    Ndjson,
}

/// A body that says it is a form: `application/x-www-form-urlencoded`.
#[derive(Debug)]
pub struct FormBody(pub Bytes);

impl FormBody {
    /// Reads the form.
    ///
    /// # Errors
    /// As [`parse_form`].
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        parse_form(&self.0)
    }
}

/// Reads the body of a request as a whole.
///
/// # Errors
/// 413 `body_too_large` above `limit` bytes, 408 `request_timeout` when it takes longer than `http.body_timeout`, and
/// 400 when it is cut off.
pub async fn read_body(
    request: &HttpRequest,
    payload: &mut Payload,
    limit: usize,
) -> Result<Bytes, Problem> {
    let announced = announced_length(request);
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let BodyTimeout(timeout) = request.app_data().copied().unwrap_or_default();
    let deadline = request.extensions().get::<Context>().and_then(Context::deadline);
    if let Some(deadline) = &deadline {
        deadline.pause_for(timeout);
    }
    let body =
        tokio::time::timeout(timeout, collect(payload, announced.unwrap_or_default(), limit))
            .await
            .map_err(|_| Problem::new(Code::RequestTimeout))?;
    if let Some(deadline) = &deadline {
        deadline.begin();
    }
    body
}

/// Puts the chunks together; a body of one chunk, as most are, is not copied.
async fn collect(payload: &mut Payload, announced: usize, limit: usize) -> Result<Bytes, Problem> {
    let mut whole = Bytes::new();
    let mut grown = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| {
            Problem::new(Code::InvalidJson).detail("The body was cut off.").caused_by(error)
        })?;
        if whole.len() + grown.len() + chunk.len() > limit {
            return Err(too_large(limit));
        }
        if whole.is_empty() && grown.is_empty() {
            whole = chunk;
        } else {
            if grown.is_empty() {
                grown.reserve(announced.max(whole.len() + chunk.len()));
                grown.extend_from_slice(&std::mem::take(&mut whole));
            }
            grown.extend_from_slice(&chunk);
        }
    }
    Ok(if grown.is_empty() { whole } else { grown.freeze() })
}

fn announced_length(request: &HttpRequest) -> Option<usize> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large(limit: usize) -> Problem {
    Problem::new(Code::BodyTooLarge).detail(format!("The body is larger than {limit} bytes."))
}

/// What a body says it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    Ndjson,
    Form,
}

/// Reads a body that says it is of a wanted kind.
async fn read_kind(
    request: &HttpRequest,
    payload: &mut Payload,
    wanted: &[Kind],
) -> Result<(Kind, Bytes), Problem> {
    let kind = kind_of(request).filter(|kind| wanted.contains(kind)).ok_or_else(|| {
        let detail = match wanted {
            [Kind::Form] => "Taken is application/x-www-form-urlencoded.",
            [Kind::Json] => "Taken is application/json in UTF-8.",
            _ => "Taken is application/json or application/x-ndjson in UTF-8.",
        };
        Problem::new(Code::UnsupportedMediaType).detail(detail)
    })?;
    let encoding = request.headers().get(CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Problem::new(Code::UnsupportedMediaType)
            .detail("Bodies are taken without an encoding."));
    }
    let BodyLimit(limit) = request.app_data().copied().unwrap_or_default();
    Ok((kind, read_body(request, payload, limit).await?))
}

fn kind_of(request: &HttpRequest) -> Option<Kind> {
    let text = request.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next()?;
    if !parts.all(is_utf8_or_no_charset) {
        return None;
    }
    if essence.eq_ignore_ascii_case("application/json") || is_structured_json(essence) {
        Some(Kind::Json)
    } else if essence.eq_ignore_ascii_case("application/x-ndjson") {
        Some(Kind::Ndjson)
    } else if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Some(Kind::Form)
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

fn is_utf8_or_no_charset(parameter: &str) -> bool {
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
            let (_, bytes) = read_kind(&request, &mut payload, &[Kind::Json]).await?;
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
                read_kind(&request, &mut payload, &[Kind::Json, Kind::Ndjson]).await?;
            let format = if kind == Kind::Ndjson { Format::Ndjson } else { Format::Json };
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
            let (_, bytes) = read_kind(&request, &mut payload, &[Kind::Form]).await?;
            Ok(Self(bytes))
        })
    }
}

/// Sets the limit of a resource.
pub(crate) fn limit_of(resource: actix_web::Resource, limit: BodyLimit) -> actix_web::Resource {
    resource.app_data(limit).app_data(web::PayloadConfig::new(limit.0))
}
