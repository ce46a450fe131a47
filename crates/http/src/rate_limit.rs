//! The headers of a limit: `RateLimit` and `RateLimit-Policy` of the IETF's draft
//! "RateLimit header fields for HTTP" (draft-ietf-httpapi-ratelimit-headers).

use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use mayfly_runtime::settings::Rate;

use crate::{Code, Problem, problem::seconds_up};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// How a client stands against its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// What is counted, such as `messages`.
    pub policy: &'static str,
    /// How many there may be.
    pub rate: Rate,
    /// How many are left of this window.
    pub remaining: u32,
    /// When the window ends, and all may be sent again.
    pub resets_in: Duration,
}

impl RateLimit {
    /// Writes the two headers.
    pub fn write_headers(&self, headers: &mut HeaderMap) {
        for (name, value) in self.headers() {
            headers.insert(name, value);
        }
    }

    /// 429 for a request of so many items.
    #[must_use]
    pub fn refuse(&self, items: usize) -> Problem {
        let (policy, most) = (self.policy, self.rate.items);
        let detail = if u32::try_from(items).is_ok_and(|items| items <= most) {
            format!("{} of {most} {policy} are left in this window.", self.remaining)
        } else {
            format!("The limit is {most} {policy} in a window; {items} at once never fit.")
        };
        let problem = Problem::new(Code::RateLimited).detail(detail).retry_after(self.resets_in);
        self.headers()
            .into_iter()
            .fold(problem, |problem, (name, value)| problem.header(name, value))
    }

    fn headers(&self) -> [(HeaderName, HeaderValue); 2] {
        let policy = self.policy;
        let (most, window) = (self.rate.items, self.rate.window.as_secs());
        let (remaining, resets_in) = (self.remaining, seconds_up(self.resets_in));
        let value = |text: String| HeaderValue::try_from(text).expect("invariant: plain text");
        [
            (RATE_LIMIT_POLICY, value(format!("\"{policy}\";q={most};w={window}"))),
            (RATE_LIMIT, value(format!("\"{policy}\";r={remaining};t={resets_in}"))),
        ]
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::RETRY_AFTER;

    use super::*;

    #[test]
    fn the_headers_are_those_of_the_draft_and_times_are_rounded_up() {
        let rate = Rate { items: 100, window: Duration::from_secs(86_400) };
        let resets_in = Duration::from_millis(3_599_001);
        let limit = RateLimit { policy: "messages", rate, remaining: 0, resets_in };
        let mut headers = HeaderMap::new();
        limit.refuse(1).write_headers(&mut headers);
        let header =
            |name: HeaderName| headers.get(name).map(|value| value.to_str().expect("text"));
        assert_eq!(header(RATE_LIMIT_POLICY), Some("\"messages\";q=100;w=86400"));
        assert_eq!(header(RATE_LIMIT), Some("\"messages\";r=0;t=3600"));
        assert_eq!(header(RETRY_AFTER), Some("3600"));
    }
}
