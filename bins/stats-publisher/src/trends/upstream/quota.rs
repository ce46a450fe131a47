//! The pause that a service requests in its response headers.

use std::time::{Duration, SystemTime};

use hyper::{
    HeaderMap, StatusCode,
    header::{HeaderName, RETRY_AFTER},
};
use mayfly_core::limits::SOURCE_PAUSE_MAX;

/// The header with the number of remaining calls.
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
/// The pause if the service does not specify one.
const PAUSE_DEFAULT: Duration = Duration::from_secs(60);
/// The minimum pause.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// Returns the pause that a response requests. A response requests a pause if its status is 429 or
/// if no calls remain.
pub fn find_pause(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let is_exhausted = text(REMAINING).is_some_and(|left| left.parse() == Ok(0_u64));
    if status != StatusCode::TOO_MANY_REQUESTS && !is_exhausted {
        return None;
    }
    let requested = text(RETRY_AFTER).and_then(|text| {
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let until = httpdate::parse_http_date(text).ok()?;
        Some(until.duration_since(now).unwrap_or_default())
    });
    Some(requested.unwrap_or(PAUSE_DEFAULT).clamp(PAUSE_MIN, SOURCE_PAUSE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(status: u16, headers: &[(HeaderName, &'static str)]) -> Option<u64> {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap()));
        let now = httpdate::parse_http_date("Sat, 28 Nov 2026 10:00:00 GMT").expect("a date");
        let status = StatusCode::from_u16(status).expect("a status");
        find_pause(status, &headers.collect(), now).map(|pause| pause.as_secs())
    }

    #[test]
    fn response_with_remaining_calls_requests_no_pause() {
        assert_eq!(pause(200, &[]), None);
        assert_eq!(pause(200, &[(REMAINING, "1"), (RETRY_AFTER, "9")]), None);
        assert_eq!(pause(503, &[(RETRY_AFTER, "9")]), None);
    }

    #[test]
    fn pause_is_read_from_seconds_or_a_date() {
        assert_eq!(pause(429, &[]), Some(60));
        assert_eq!(pause(200, &[(REMAINING, "0")]), Some(60));
        assert_eq!(pause(429, &[(RETRY_AFTER, "7")]), Some(7));
        assert_eq!(pause(429, &[(RETRY_AFTER, "Sat, 28 Nov 2026 10:00:30 GMT")]), Some(30));
        assert_eq!(pause(429, &[(RETRY_AFTER, "Sat, 28 Nov 2026 09:00:00 GMT")]), Some(1));
        assert_eq!(pause(429, &[(RETRY_AFTER, "soon")]), Some(60));
        assert_eq!(pause(429, &[(RETRY_AFTER, "999999")]), Some(3_600));
    }
}
