//! The problem codes: their status, texts and documentation.

use actix_web::http::StatusCode;

use super::documentation::ERRORS_PATH;

/// A stable identifier of a kind of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// 400: the body is incomplete or not valid JSON.
    InvalidJson,
    /// 400: a field, parameter or header is missing, is unknown or violates its rule.
    InvalidField,
    /// 400: the cursor was not issued by this service, or was issued for a different order.
    InvalidCursor,
    /// 400: the source of visitor counts rejected the request.
    UpstreamRefused,
    /// 401: the credentials are missing, malformed, unknown, expired or revoked, or the API key is
    /// not valid for the host.
    Unauthorized,
    /// 403: the credentials do not grant the right, or the origin of the page or the host that the
    /// request addresses is not allowed.
    Forbidden,
    /// 404: the path or the resource does not exist.
    NotFound,
    /// 405: the path does not support the method.
    MethodNotAllowed,
    /// 406: the requested API version does not exist.
    NotAcceptable,
    /// 408: the request headers or the body did not arrive in time.
    RequestTimeout,
    /// 409: the inbox is full.
    InboxFull,
    /// 413: the body is too large.
    BodyTooLarge,
    /// 415: the media type or encoding of the body is not supported.
    UnsupportedMediaType,
    /// 422: the idempotency key was used with a different request.
    IdempotencyKeyReused,
    /// 426: the path requires a WebSocket upgrade.
    UpgradeRequired,
    /// 429: the client would exceed its rate limit or its maximum number of hosts, or too many of
    /// its authentications have failed.
    RateLimited,
    /// 500: an unexpected error.
    Internal,
    /// 502: the source of visitor counts failed, timed out or has reached its request limit.
    UpstreamFailed,
    /// 503: a dependency is unavailable, the request exceeded its deadline, or the requested data
    /// does not exist yet.
    Unavailable,
    /// 503: a capacity limit has been reached.
    Overloaded,
}

impl Code {
    /// All codes.
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

    /// Returns the HTTP status of responses with this code.
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

    /// Returns the stable name.
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

    /// Returns the title, which is the same for every problem with this code.
    pub fn title(self) -> &'static str {
        match self {
            Self::InvalidJson => "Invalid JSON",
            Self::InvalidField => "Invalid field",
            Self::InvalidCursor => "Invalid cursor",
            Self::UpstreamRefused => "Rejected by the source",
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
            Self::RateLimited => "Rate limit exceeded",
            Self::Internal => "Internal error",
            Self::UpstreamFailed => "Source failed",
            Self::Unavailable => "Unavailable",
            Self::Overloaded => "Overloaded",
        }
    }

    /// Returns the default detail of problems with this code.
    pub fn detail(self) -> &'static str {
        match self {
            Self::InvalidJson => "The request body is not valid JSON.",
            Self::InvalidField => "A field, parameter or header is missing or invalid.",
            Self::InvalidCursor => {
                "The cursor is invalid. Pass the `next_cursor` of an earlier response unchanged."
            }
            Self::UpstreamRefused => {
                "The source of visitor counts rejected the request. Check the API key and the host."
            }
            Self::Unauthorized => "The credentials are missing or invalid.",
            Self::Forbidden => {
                "The credentials do not grant this right, or the origin or the host is not allowed."
            }
            Self::NotFound => "The resource was not found.",
            Self::MethodNotAllowed => {
                "The path does not support this method. The Allow header lists the supported methods."
            }
            Self::NotAcceptable => {
                "The requested API version does not exist. Accept application/json; version=1."
            }
            Self::RequestTimeout => {
                "The request body did not arrive in time. Send it faster or in smaller requests."
            }
            Self::InboxFull => {
                "The inbox is full. Take messages from it, or wait until some of them expire."
            }
            Self::BodyTooLarge => "The request body is too large. Send less data per request.",
            Self::UnsupportedMediaType => {
                "Unsupported media type: send a content type that this route accepts."
            }
            Self::IdempotencyKeyReused => {
                "The Idempotency-Key was already used with a different request. Use a new key."
            }
            Self::UpgradeRequired => {
                "This path requires a WebSocket upgrade with Sec-WebSocket-Version: 13."
            }
            Self::RateLimited => {
                "The rate limit is exceeded. Retry after the time in the Retry-After header."
            }
            Self::Internal => {
                "An unexpected error occurred. The operator can find the cause in the log by the request ID."
            }
            Self::UpstreamFailed => {
                "The source of visitor counts failed, timed out or has reached its request limit. \
                 Retry later."
            }
            Self::Unavailable => {
                "A dependency is unavailable. Retry after the time in the Retry-After header; \
                 retry a write with an Idempotency-Key."
            }
            Self::Overloaded => {
                "A capacity limit is reached and nothing was written. Retry after the time in the \
                 Retry-After header."
            }
        }
    }

    /// Returns the URL, without scheme and host, of the section of the error documentation that
    /// explains this code. If the service has a public URL, problems contain the absolute URL.
    pub fn documentation_url(self) -> String {
        format!("{ERRORS_PATH}#{}", self.as_str())
    }

    /// Returns the code for an error response that the HTTP library created, or `None` if no code
    /// has this status.
    pub(crate) fn from_status(status: StatusCode) -> Option<Self> {
        match status {
            StatusCode::BAD_REQUEST => Some(Self::InvalidField),
            StatusCode::INTERNAL_SERVER_ERROR => Some(Self::Internal),
            _ => Self::ALL.into_iter().find(|code| code.status() == status),
        }
    }

    /// Returns whether responses with this code have a `Retry-After` header.
    pub fn has_retry_after(self) -> bool {
        matches!(self, Self::RateLimited | Self::Unavailable | Self::Overloaded)
    }
}
