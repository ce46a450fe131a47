//! The stable names of everything that can be wrong with a request.

use actix_web::http::StatusCode;

/// What is wrong, in a word that callers may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// 400: the body is no JSON.
    InvalidJson,
    /// 400: a field or parameter is missing, unknown or out of range.
    InvalidField,
    /// 400: the cursor is none of ours.
    InvalidCursor,
    /// 400: the source of visitors refused the question.
    UpstreamRefused,
    /// 401: a key is missing or wrong.
    Unauthorized,
    /// 403: the key does not allow it.
    Forbidden,
    /// 404: there is no such thing.
    NotFound,
    /// 405: the path does not know the method.
    MethodNotAllowed,
    /// 406: another version of the API is wanted.
    NotAcceptable,
    /// 408: the body did not arrive in time.
    RequestTimeout,
    /// 409: the inbox is full.
    InboxFull,
    /// 413: the body is too large.
    BodyTooLarge,
    /// 415: the body is of another kind.
    UnsupportedMediaType,
    /// 422: the key of an earlier request came with another body.
    IdempotencyKeyReused,
    /// 426: the path answers only over a WebSocket.
    UpgradeRequired,
    /// 429: the limit of this client is used up.
    RateLimited,
    /// 500: our fault.
    Internal,
    /// 502: the source of visitors failed.
    UpstreamFailed,
    /// 503: something that is needed is away.
    Unavailable,
    /// 503: more than can be taken.
    Overloaded,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 20] = [
        Self::InvalidJson,
        Self::InvalidField,
        Self::InvalidCursor,
        Self::UpstreamRefused,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::RequestTimeout,
        Self::InboxFull,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::IdempotencyKeyReused,
        Self::UpgradeRequired,
        Self::RateLimited,
        Self::Internal,
        Self::UpstreamFailed,
        Self::Unavailable,
        Self::Overloaded,
    ];

    /// The status it is answered with.
    pub fn status(self) -> StatusCode {
        match self {
            Self::InvalidJson
            | Self::InvalidField
            | Self::InvalidCursor
            | Self::UpstreamRefused => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::InboxFull => StatusCode::CONFLICT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::UpstreamFailed => StatusCode::BAD_GATEWAY,
            Self::Unavailable | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The name that callers may rely on.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::InvalidField => "invalid_field",
            Self::InvalidCursor => "invalid_cursor",
            Self::UpstreamRefused => "upstream_refused",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::NotAcceptable => "not_acceptable",
            Self::RequestTimeout => "request_timeout",
            Self::InboxFull => "inbox_full",
            Self::BodyTooLarge => "body_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::UpgradeRequired => "upgrade_required",
            Self::RateLimited => "rate_limited",
            Self::Internal => "internal",
            Self::UpstreamFailed => "upstream_failed",
            Self::Unavailable => "unavailable",
            Self::Overloaded => "overloaded",
        }
    }

    /// A few words for people, the same for every problem of the code.
    pub fn title(self) -> &'static str {
        match self {
            Self::InvalidJson => "Invalid JSON",
            Self::InvalidField => "Invalid field",
            Self::InvalidCursor => "Invalid cursor",
            Self::UpstreamRefused => "Refused by the source",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "Method not allowed",
            Self::NotAcceptable => "Not acceptable",
            Self::RequestTimeout => "Request timeout",
            Self::InboxFull => "Inbox full",
            Self::BodyTooLarge => "Body too large",
            Self::UnsupportedMediaType => "Unsupported media type",
            Self::IdempotencyKeyReused => "Idempotency key reused",
            Self::UpgradeRequired => "Upgrade required",
            Self::RateLimited => "Rate limited",
            Self::Internal => "Internal error",
            Self::UpstreamFailed => "The source failed",
            Self::Unavailable => "Unavailable",
            Self::Overloaded => "Overloaded",
        }
    }

    /// What is said where nothing more exact is.
    pub fn detail(self) -> &'static str {
        match self {
            Self::InvalidJson => "The body is no JSON document.",
            Self::InvalidField => "A field or parameter is missing, unknown or out of range.",
            Self::InvalidCursor => "The cursor is none of this service.",
            Self::UpstreamRefused => "The source of visitors refused the question.",
            Self::Unauthorized => "A key is missing or wrong.",
            Self::Forbidden => "This is not allowed.",
            Self::NotFound => "There is no such thing.",
            Self::MethodNotAllowed => {
                "The path does not know this method; the header Allow names those it knows."
            }
            Self::NotAcceptable => "This service answers with version 1 only.",
            Self::RequestTimeout => "The body did not arrive in time.",
            Self::InboxFull => "The inbox is full.",
            Self::BodyTooLarge => "The body is too large.",
            Self::UnsupportedMediaType => "The body is of a kind that is not taken here.",
            Self::IdempotencyKeyReused => "The key was used for another body.",
            Self::UpgradeRequired => "This path answers only over a WebSocket of version 13.",
            Self::RateLimited => {
                "The limit is used up; the header Retry-After says when to come back."
            }
            Self::Internal => "Something went wrong here. The request id helps to find out what.",
            Self::UpstreamFailed => "The source of visitors did not answer as it should.",
            Self::Unavailable => "Something that is needed does not answer. Try again.",
            Self::Overloaded => "More is asked than can be done at the moment. Try again.",
        }
    }

    /// The code for what the HTTP library refuses on its own; none where its answer stands.
    pub(crate) fn of_status(status: StatusCode) -> Option<Self> {
        match status {
            StatusCode::BAD_REQUEST => Some(Self::InvalidField),
            StatusCode::INTERNAL_SERVER_ERROR => Some(Self::Internal),
            _ => Self::ALL.into_iter().find(|code| code.status() == status),
        }
    }

    /// Whether the answer has to say when to come back.
    pub fn wants_retry_after(self) -> bool {
        matches!(self, Self::RateLimited | Self::Unavailable | Self::Overloaded)
    }
}
