//! Request bodies.

use bytes::Bytes;
use mayfly_http::{Body, BodyFormat, Problem, UnreadBody};

use crate::problems;

/// Returns the body as text.
pub fn parse_utf8(body: &Bytes) -> Result<&str, Problem> {
    std::str::from_utf8(body).map_err(problems::not_utf8)
}

/// Reads a JSON body unless `check`, which receives its size, rejects the request. It is called
/// before the body is read, and again before it is parsed, because the load may have grown in the
/// meantime.
pub async fn read_json(
    body: UnreadBody,
    check: impl Fn(usize) -> Result<(), Problem>,
) -> Result<Body, Problem> {
    let body = check_unread(body, &check).await?.read_json().await?;
    check(body.bytes.len())?;
    Ok(body)
}

/// Reads a JSON body as [`read_json`] does, also one that a web page sent with
/// `navigator.sendBeacon`.
pub async fn read_json_or_beacon(
    body: UnreadBody,
    check: impl Fn(usize) -> Result<(), Problem>,
) -> Result<Body, Problem> {
    let body = check_unread(body, &check).await?.read_json_or_beacon().await?;
    check(body.bytes.len())?;
    Ok(body)
}

/// Reads a body with several documents as [`read_json`] does.
pub async fn read_json_or_ndjson(
    body: UnreadBody,
    check: impl Fn(usize) -> Result<(), Problem>,
) -> Result<(BodyFormat, Body), Problem> {
    let (format, body) = check_unread(body, &check).await?.read_json_or_ndjson().await?;
    check(body.bytes.len())?;
    Ok((format, body))
}

/// Reads a form as [`read_json`] does.
pub async fn read_form(
    body: UnreadBody,
    check: impl Fn(usize) -> Result<(), Problem>,
) -> Result<Body, Problem> {
    let body = check_unread(body, &check).await?.read_form().await?;
    check(body.bytes.len())?;
    Ok(body)
}

async fn check_unread(
    body: UnreadBody,
    check: impl Fn(usize) -> Result<(), Problem>,
) -> Result<UnreadBody, Problem> {
    match check(body.declared_bytes()) {
        Ok(()) => Ok(body),
        Err(problem) => Err(body.reject(problem).await),
    }
}
