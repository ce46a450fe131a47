//! Request bodies.

use bytes::Bytes;
use mayfly_http::Problem;

use crate::problems;

/// Returns the body as text.
pub fn parse_utf8(body: &Bytes) -> Result<&str, Problem> {
    std::str::from_utf8(body).map_err(problems::not_utf8)
}
