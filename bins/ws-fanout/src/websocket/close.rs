//! Close codes and reasons (RFC 6455, section 7.4; codes from 4000 on are specific to this
//! service).

/// A code that the server sends to close a connection. A client may reconnect after codes up to
/// 4499, but not after codes from 4500 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseCode {
    /// 1001: this process is draining.
    GoingAway,
    /// 1002: the client violated the WebSocket protocol.
    Protocol,
    /// 1003: the client sent a binary frame, which is not supported.
    Unsupported,
    /// 1007: the client sent text that is not UTF-8.
    InvalidText,
    /// 1009: the client sent a message that exceeds the size limit.
    TooLarge,
    /// 4000: the client reads too slowly, or its connection holds the most memory while all
    /// connections together hold too much.
    SlowConsumer,
    /// 4001: the client did not send a pong or the `connect` frame in time, or stopped reading.
    NoPong,
    /// 4002: Redis did not respond in time, the client stopped reading a replay while other
    /// connections waited for the replay budget, or the client exceeds a limit.
    Overloaded,
    /// 4003: the token of the client has expired.
    TokenExpired,
    /// 4500: the query or the `connect` frame is invalid.
    BadRequest,
    /// 4501: the query or the `connect` frame names too many channels, videos or hosts.
    TooManyChannels,
    /// 4502: the credentials are missing or invalid, or allow no subscription.
    Unauthorized,
    /// 4503: the key was revoked or has expired, or the token was revoked.
    Revoked,
    /// 4504: web pages from this origin may not connect.
    OriginNotAllowed,
    /// 4504: WebSockets to this host are not allowed.
    HostNotAllowed,
}

impl CloseCode {
    pub(crate) fn number(self) -> u16 {
        match self {
            Self::GoingAway => 1001,
            Self::Protocol => 1002,
            Self::Unsupported => 1003,
            Self::InvalidText => 1007,
            Self::TooLarge => 1009,
            Self::SlowConsumer => 4000,
            Self::NoPong => 4001,
            Self::Overloaded => 4002,
            Self::TokenExpired => 4003,
            Self::BadRequest => 4500,
            Self::TooManyChannels => 4501,
            Self::Unauthorized => 4502,
            Self::Revoked => 4503,
            Self::OriginNotAllowed | Self::HostNotAllowed => 4504,
        }
    }

    /// Returns the default reason.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::GoingAway => "going_away",
            Self::Protocol => "protocol_error",
            Self::Unsupported => "binary_data",
            Self::InvalidText => "invalid_utf8",
            Self::TooLarge => "frame_too_large",
            Self::SlowConsumer => "slow_consumer",
            Self::NoPong => "no_pong",
            Self::Overloaded => "overloaded",
            Self::TokenExpired => "token_expired",
            Self::BadRequest => "bad_request",
            Self::TooManyChannels => "too_many_channels",
            Self::Unauthorized => "unauthorized",
            Self::Revoked => "revoked",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::HostNotAllowed => "host_not_allowed",
        }
    }
}

/// A close code with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: CloseCode,
    /// The reason, of at most [`REASON_BYTES_MAX`] bytes.
    pub(crate) reason: String,
}

/// Maximum length of a reason, in bytes. The payload of a control frame has at most 125 bytes, and
/// the code takes two of them.
const REASON_BYTES_MAX: usize = 123;

impl Close {
    /// Creates a close with a specific reason, truncated to [`REASON_BYTES_MAX`] bytes.
    pub(crate) fn with_reason(code: CloseCode, reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        let end = (0..=REASON_BYTES_MAX).rev().find(|end| reason.is_char_boundary(*end));
        if reason.len() > REASON_BYTES_MAX {
            reason.truncate(end.unwrap_or(0));
        }
        Self { code, reason }
    }
}

impl Close {
    /// Creates the close for a WebSocket from an origin that is not allowed. Scripts can read a
    /// close code and its reason, but not the response to a rejected upgrade.
    pub(crate) fn origin_not_allowed(origin: &str) -> Self {
        let code = CloseCode::OriginNotAllowed;
        Self::with_reason(code, format!("{}: {origin}", code.as_str()))
    }

    /// Creates the close for a WebSocket to a host that is not allowed.
    pub(crate) fn host_not_allowed(host: &str) -> Self {
        let code = CloseCode::HostNotAllowed;
        Self::with_reason(code, format!("{}: {host}", code.as_str()))
    }
}

impl From<CloseCode> for Close {
    fn from(code: CloseCode) -> Self {
        Self { code, reason: code.as_str().to_owned() }
    }
}

/// Returns whether a client may send this code (RFC 6455, section 7.4, and the IANA registry).
pub(super) fn is_valid_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, iter::successors};

    use serde_json::Value;

    use super::*;

    /// Returns the next code. A new variant causes a compile error until the match includes it.
    fn next(code: CloseCode) -> Option<CloseCode> {
        match code {
            CloseCode::GoingAway => Some(CloseCode::Protocol),
            CloseCode::Protocol => Some(CloseCode::Unsupported),
            CloseCode::Unsupported => Some(CloseCode::InvalidText),
            CloseCode::InvalidText => Some(CloseCode::TooLarge),
            CloseCode::TooLarge => Some(CloseCode::SlowConsumer),
            CloseCode::SlowConsumer => Some(CloseCode::NoPong),
            CloseCode::NoPong => Some(CloseCode::Overloaded),
            CloseCode::Overloaded => Some(CloseCode::TokenExpired),
            CloseCode::TokenExpired => Some(CloseCode::BadRequest),
            CloseCode::BadRequest => Some(CloseCode::TooManyChannels),
            CloseCode::TooManyChannels => Some(CloseCode::Unauthorized),
            CloseCode::Unauthorized => Some(CloseCode::Revoked),
            CloseCode::Revoked => Some(CloseCode::OriginNotAllowed),
            CloseCode::OriginNotAllowed => Some(CloseCode::HostNotAllowed),
            CloseCode::HostNotAllowed => None,
        }
    }

    #[test]
    fn close_codes_match_the_asyncapi_document() {
        let document = include_str!("../../../../docs/asyncapi.json");
        let document: Value = serde_json::from_str(document).expect("valid JSON");
        let described = document["channels"]["live"]["x-close-codes"].as_array();
        let described: BTreeSet<_> = described
            .expect("documented close codes")
            .iter()
            .map(|one| {
                (one["code"].as_u64(), one["reason"].as_str(), one["may_reconnect"].as_bool())
            })
            .collect();
        let ours: BTreeSet<_> = successors(Some(CloseCode::GoingAway), |code| next(*code))
            .map(|code| (code.number(), code.as_str()))
            .map(|(code, reason)| (Some(u64::from(code)), Some(reason), Some(code < 4500)))
            .collect();
        assert_eq!(ours, described);
    }

    #[test]
    fn reason_contains_the_origin_that_is_not_allowed() {
        let reason = |origin: &str| Close::origin_not_allowed(origin).reason;
        assert_eq!(reason("https://evil.example"), "origin_not_allowed: https://evil.example");
        assert_eq!(reason(&format!("https://{}", "x".repeat(300))).len(), REASON_BYTES_MAX);
    }

    #[test]
    fn reason_is_truncated_at_a_character_boundary() {
        let close = Close::with_reason(CloseCode::BadRequest, "ü".repeat(100));
        assert_eq!(close.reason, "ü".repeat(61));
    }
}
