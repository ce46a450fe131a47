//! Response headers.

use utoipa::openapi::{Header, HeaderBuilder, ObjectBuilder};

use crate::schema::{count, format, one_of, pattern, string};

/// A response header.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ResponseHeader {
    /// The request ID.
    RequestId,
    /// The trace context.
    Traceparent,
    /// Caching rules.
    CacheControl,
    /// The URL of the created or referenced resource. The operation provides the description.
    Location(&'static str),
    /// The next page.
    Link,
    /// The identifier of a file's version.
    ETag,
    /// The supported methods of a path.
    Allow,
    /// The time to wait before a retry.
    RetryAfter,
    /// The state of the rate limit.
    RateLimit,
    /// The rate limit.
    RateLimitPolicy,
    /// Whether the response is a replayed response.
    IdempotentReplayed,
    /// The age of the response.
    Age,
    /// Whether the response is an earlier response, sent because the source of visitor counts
    /// failed.
    MayflyStale,
    /// The authentication scheme.
    WwwAuthenticate,
}

impl ResponseHeader {
    /// The headers of every response.
    pub(crate) const ALWAYS: [Self; 3] = [Self::RequestId, Self::Traceparent, Self::CacheControl];
    /// The headers of operations that have a rate limit.
    pub(crate) const LIMIT: [Self; 2] = [Self::RateLimit, Self::RateLimitPolicy];

    /// Returns the name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RequestId => "X-Request-Id",
            Self::Traceparent => "traceparent",
            Self::CacheControl => "Cache-Control",
            Self::Location(_) => "Location",
            Self::Link => "Link",
            Self::ETag => "ETag",
            Self::Allow => "Allow",
            Self::RetryAfter => "Retry-After",
            Self::RateLimit => "RateLimit",
            Self::RateLimitPolicy => "RateLimit-Policy",
            Self::IdempotentReplayed => "Idempotent-Replayed",
            Self::Age => "Age",
            Self::MayflyStale => "Mayfly-Stale",
            Self::WwwAuthenticate => "WWW-Authenticate",
        }
    }

    /// Returns the schema and the description.
    pub(crate) fn describe(self) -> Header {
        let (schema, description): (ObjectBuilder, &str) = match self {
            Self::RequestId => {
                (pattern("^[A-Za-z0-9._-]{1,128}$"), "The request ID, echoed or generated.")
            }
            Self::Traceparent => (
                pattern("^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?$"),
                "The trace context (W3C), echoed or generated.",
            ),
            Self::CacheControl => (string(), "Whether and how long the response may be cached."),
            Self::Location(text) => (format("uri-reference"), text),
            Self::Link => {
                (pattern("^<[^>]+>; rel=\"next\"$"), "The next page, if there are more items.")
            }
            Self::ETag => (pattern("^(W/)?\"[^\"]*\"$"), "The version of the file."),
            Self::Allow => (pattern("^[A-Z]+(, [A-Z]+)*$"), "The supported methods of the path."),
            Self::RetryAfter => (count().minimum(Some(1_usize)), "Seconds to wait before a retry."),
            Self::RateLimit => (
                pattern("^\"(messages|plays|visits|auth_failures)\";r=[0-9]+;t=[0-9]+$"),
                "The number of items left in the current window and the seconds until the window ends, if a limit is configured.",
            ),
            Self::RateLimitPolicy => (
                pattern("^\"(messages|plays|visits|auth_failures)\";q=[0-9]+;w=[0-9]+$"),
                "The rate limit and its window in seconds, if a limit is configured.",
            ),
            Self::IdempotentReplayed => (
                one_of(["true"]),
                "Present if this is the stored response to an earlier request with the same `Idempotency-Key`.",
            ),
            Self::Age => (
                count(),
                "Age of the response in seconds, if it is an earlier response from the source.",
            ),
            Self::MayflyStale => (
                one_of(["true"]),
                "Present if the source has failed and this is its last response.",
            ),
            Self::WwwAuthenticate => (
                one_of(["Bearer", "Bearer error=\"invalid_token\""]),
                "The authentication scheme: send an API key or a token. With `invalid_token`, the credentials in the request are not accepted.",
            ),
        };
        HeaderBuilder::new().schema(schema).description(Some(description)).build()
    }
}
