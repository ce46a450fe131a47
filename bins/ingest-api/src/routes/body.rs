//! Reads request bodies.

use bytes::Bytes;
use mayfly_http::{Body, BodyFormat, Problem, UnreadBody};

use crate::problems;

/// Returns the body as text, or a problem if it is not UTF-8.
pub fn parse_utf8(body: &Bytes) -> Result<&str, Problem> {
    std::str::from_utf8(body).map_err(problems::not_utf8)
}

/// Reads a JSON body unless `check` rejects the request. `check` runs with the declared size before
/// the body is read, and with the actual size afterwards, because the load may have grown in the
/// meantime.
pub async fn read_json(
    body: UnreadBody,
    check: impl Fn(usize) -> Result<(), Problem>,
) -> Result<Body, Problem> {
    let body = check_unread(body, &check).await?.read_json().await?;
    check(body.bytes.len())?;
    Ok(body)
}

/// Does the same as [`read_json`], and also accepts a body that a web page sent with
/// `navigator.sendBeacon`.
pub async fn read_json_or_beacon(
    body: UnreadBody,
    check: impl Fn(usize) -> Result<(), Problem>,
) -> Result<Body, Problem> {
    let body = check_unread(body, &check).await?.read_json_or_beacon().await?;
    check(body.bytes.len())?;
    Ok(body)
}

/// Does the same as [`read_json`] for a JSON or NDJSON body, and returns its format.
pub async fn read_json_or_ndjson(
    body: UnreadBody,
    check: impl Fn(usize) -> Result<(), Problem>,
) -> Result<(BodyFormat, Body), Problem> {
    let (format, body) = check_unread(body, &check).await?.read_json_or_ndjson().await?;
    check(body.bytes.len())?;
    Ok((format, body))
}

/// Does the same as [`read_json`] for a form.
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
