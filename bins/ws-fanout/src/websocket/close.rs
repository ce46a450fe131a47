//! Why a connection ends, as both sides say it (RFC 6455, section 7.4, and ours above 4000).

/// Why this side ends a connection. Up to 4499 a client may come back, from 4500 on it must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseCode {
    /// 1001: this process leaves.
    GoingAway,
    /// 1002: the other side broke the protocol.
    Protocol,
    /// 1003: binary data, which is not taken here.
    Unsupported,
    /// 1007: a text that is no UTF-8.
    InvalidText,
    /// 1009: a frame larger than is taken here.
    TooLarge,
    /// 4000: the other side does not read as fast as it is written to.
    SlowConsumer,
    /// 4001: no pong came.
    NoPong,
    /// 4002: Redis is away, or too much is asked for.
    Overloaded,
    /// 4500: the request makes no sense.
    BadRequest,
    /// 4501: too many channels are asked for.
    TooManyChannels,
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
            Self::BadRequest => 4500,
            Self::TooManyChannels => 4501,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::GoingAway => "going_away",
            Self::Protocol => "protocol_error",
            Self::Unsupported => "binary_data",
            Self::InvalidText => "invalid_utf8",
            Self::TooLarge => "frame_too_large",
            Self::SlowConsumer => "slow_consumer",
            Self::NoPong => "no_pong",
            Self::Overloaded => "overloaded",
            Self::BadRequest => "bad_request",
            Self::TooManyChannels => "too_many_channels",
        }
    }
}

/// A code and what is said with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: CloseCode,
    /// At most [`REASON_BYTES_MAX`] bytes.
    pub(crate) reason: String,
}

/// Bytes of a reason: a control frame has room for 125, and the code takes two.
const REASON_BYTES_MAX: usize = 123;

impl Close {
    /// Says more than the code does; what does not fit is cut off.
    pub(crate) fn with_reason(code: CloseCode, reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        let end = (0..=REASON_BYTES_MAX).rev().find(|end| reason.is_char_boundary(*end));
        if reason.len() > REASON_BYTES_MAX {
            reason.truncate(end.unwrap_or(0));
        }
        Self { code, reason }
    }
}

impl From<CloseCode> for Close {
    fn from(code: CloseCode) -> Self {
        Self { code, reason: code.word().to_owned() }
    }
}

/// Whether a peer may send this code (RFC 6455, section 7.4, and IANA's list).
pub(super) fn is_valid(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, iter::successors};

    use serde_json::Value;

    use super::*;

    /// The code after this one; a new one does not compile before it has its place here.
    fn next(code: CloseCode) -> Option<CloseCode> {
        match code {
            CloseCode::GoingAway => Some(CloseCode::Protocol),
            CloseCode::Protocol => Some(CloseCode::Unsupported),
            CloseCode::Unsupported => Some(CloseCode::InvalidText),
            CloseCode::InvalidText => Some(CloseCode::TooLarge),
            CloseCode::TooLarge => Some(CloseCode::SlowConsumer),
            CloseCode::SlowConsumer => Some(CloseCode::NoPong),
            CloseCode::NoPong => Some(CloseCode::Overloaded),
            CloseCode::Overloaded => Some(CloseCode::BadRequest),
            CloseCode::BadRequest => Some(CloseCode::TooManyChannels),
            CloseCode::TooManyChannels => None,
        }
    }

    #[test]
    fn the_close_codes_are_those_of_the_document() {
        let document = include_str!("../../../../docs/asyncapi.json");
        let document: Value = serde_json::from_str(document).expect("it is JSON");
        let described = document["channels"]["live"]["x-close-codes"].as_array();
        let described: BTreeSet<_> = described
            .expect("there are codes")
            .iter()
            .map(|one| {
                (one["code"].as_u64(), one["reason"].as_str(), one["may_reconnect"].as_bool())
            })
            .collect();
        let ours: BTreeSet<_> = successors(Some(CloseCode::GoingAway), |code| next(*code))
            .map(|code| (code.number(), code.word()))
            .map(|(code, word)| (Some(u64::from(code)), Some(word), Some(code < 4500)))
            .collect();
        assert_eq!(ours, described);
    }

    #[test]
    fn a_reason_is_cut_at_a_character() {
        let close = Close::with_reason(CloseCode::BadRequest, "ü".repeat(100));
        assert_eq!(close.reason, "ü".repeat(61));
    }
}
