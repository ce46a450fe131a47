//! The headers of answers.

use utoipa::openapi::{Header, HeaderBuilder, ObjectBuilder};

use crate::schema::{count, format, pattern, string, words};

/// A header of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answered {
    /// The id of the request.
    RequestId,
    /// Its place in a trace.
    Traceparent,
    /// How long the answer may be kept.
    CacheControl,
    /// Where what was made, or is meant, lies, in the words of the operation.
    Location(&'static str),
    /// Where the next page is.
    Link,
    /// The version of a file.
    ETag,
    /// The methods of a path.
    Allow,
    /// When to come back.
    RetryAfter,
    /// How a client stands against its limit.
    RateLimit,
    /// What the limit is.
    RateLimitPolicy,
    /// Whether the answer was given before.
    IdempotentReplayed,
    /// How old the answer is.
    Age,
    /// Whether the source of visitors failed since.
    MayflyStale,
    /// How a key is sent.
    WwwAuthenticate,
}

impl Answered {
    /// What stands on every answer.
    pub(crate) const ALWAYS: [Self; 3] = [Self::RequestId, Self::Traceparent, Self::CacheControl];
    /// What stands on the answers of what is limited.
    pub(crate) const LIMIT: [Self; 2] = [Self::RateLimit, Self::RateLimitPolicy];

    /// The name of the header.
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

    /// The header as the document has it.
    pub(crate) fn describe(self) -> Header {
        let (schema, description): (ObjectBuilder, &str) = match self {
            Self::RequestId => (
                pattern("^[A-Za-z0-9._-]{1,128}$"),
                "The id of the request, taken from it or made.",
            ),
            Self::Traceparent => (
                pattern("^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?$"),
                "The place in a trace (W3C), taken from the request or made.",
            ),
            Self::CacheControl => (string(), "Whether and how long the answer may be kept."),
            Self::Location(text) => (format("uri-reference"), text),
            Self::Link => {
                (pattern("^<[^>]+>; rel=\"next\"$"), "The next page; only while there is more.")
            }
            Self::ETag => (pattern("^(W/)?\"[^\"]*\"$"), "The version of the file."),
            Self::Allow => (pattern("^[A-Z]+(, [A-Z]+)*$"), "The methods that the path knows."),
            Self::RetryAfter => {
                (count().minimum(Some(1_usize)), "Seconds until it is worth another try.")
            }
            Self::RateLimit => (
                pattern("^\"(messages|plays|visits)\";r=[0-9]+;t=[0-9]+$"),
                "What is left of the limit, and for how many seconds; only where a limit is on.",
            ),
            Self::RateLimitPolicy => (
                pattern("^\"(messages|plays|visits)\";q=[0-9]+;w=[0-9]+$"),
                "The limit, and its window in seconds; only where a limit is on.",
            ),
            Self::IdempotentReplayed => (
                words(["true"]),
                "The answer was given before to the same `Idempotency-Key`; only then.",
            ),
            Self::Age => {
                (count(), "How many seconds old the answer is; only where it is the last one.")
            }
            Self::MayflyStale => {
                (words(["true"]), "The source failed since: this is its last answer; only then.")
            }
            Self::WwwAuthenticate => (words(["Bearer"]), "That a key is wanted."),
        };
        HeaderBuilder::new().schema(schema).description(Some(description)).build()
    }
}
