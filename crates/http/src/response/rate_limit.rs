//! The headers `RateLimit` and `RateLimit-Policy`, which the IETF draft "RateLimit header fields
//! for HTTP" (draft-ietf-httpapi-ratelimit-headers) defines.

use std::{borrow::Cow, time::Duration};

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use mayfly_runtime::settings::Rate;

use super::problem::{Code, Problem, to_seconds_ceil};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The state of a rate limit for one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// The kind of items that the limit counts, such as `messages`.
    pub policy: &'static str,
    /// The maximum number of items per window.
    pub rate: Rate,
    /// The number of items left in the current window.
    pub remaining: u32,
    /// Time until the window ends.
    pub resets_in: Duration,
}

impl RateLimit {
    /// Writes both headers.
    pub fn write_headers(&self, headers: &mut HeaderMap) {
        for (name, value) in self.headers() {
            headers.insert(name, value);
        }
    }

    /// Returns the problem that rejects a request with this number of items.
    #[must_use]
    pub fn to_problem(&self, items: usize) -> Problem {
        let (policy, limit) = (self.policy, self.rate.items);
        let detail = if u32::try_from(items).is_ok_and(|items| items <= limit) {
            format!(
                "{} of {limit} {policy} are left in this window. Retry after the window ends.",
                self.remaining
            )
        } else {
            format!(
                "The limit is {limit} {policy} per window. Send at most {limit} instead of {items} per request."
            )
        };
        self.reject(detail)
    }

    /// Returns the problem that rejects a request because of this limit.
    pub(crate) fn reject(&self, detail: impl Into<Cow<'static, str>>) -> Problem {
        let problem = Problem::new(Code::RateLimited).detail(detail).retry_after(self.resets_in);
        self.headers()
            .into_iter()
            .fold(problem, |problem, (name, value)| problem.header(name, value))
    }

    fn headers(&self) -> [(HeaderName, HeaderValue); 2] {
        let policy = self.policy;
        let (limit, window) = (self.rate.items, self.rate.window.as_secs());
        let (remaining, resets_in) = (self.remaining, to_seconds_ceil(self.resets_in));
        let value = |text: String| HeaderValue::try_from(text).expect("invariant: plain text");
        [
            (RATE_LIMIT_POLICY, value(format!("\"{policy}\";q={limit};w={window}"))),
            (RATE_LIMIT, value(format!("\"{policy}\";r={remaining};t={resets_in}"))),
        ]
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::RETRY_AFTER;

    use super::*;

    #[test]
    fn headers_follow_the_draft_and_round_times_up() {
        let rate = Rate { items: 100, window: Duration::from_secs(86_400) };
        let resets_in = Duration::from_millis(3_599_001);
        let limit = RateLimit { policy: "messages", rate, remaining: 0, resets_in };
        let mut headers = HeaderMap::new();
        limit.to_problem(1).write_headers(&mut headers);
        let header =
            |name: HeaderName| headers.get(name).map(|value| value.to_str().expect("text"));
        assert_eq!(header(RATE_LIMIT_POLICY), Some("\"messages\";q=100;w=86400"));
        assert_eq!(header(RATE_LIMIT), Some("\"messages\";r=0;t=3600"));
        assert_eq!(header(RETRY_AFTER), Some("3600"));
    }
}
