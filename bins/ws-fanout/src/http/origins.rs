//! The log of origins that are not allowed.

use std::collections::HashSet;

use parking_lot::Mutex;
use tracing::warn;

/// Maximum number of origins that are logged.
const ORIGINS_MAX: usize = 100;
/// Maximum length of a logged origin, in characters.
const ORIGIN_CHARS_MAX: usize = 256;

/// A log of origins that are not allowed. Logs each origin at most once. Clients can invent
/// origins, so the number of logged origins is limited.
#[derive(Default)]
pub(crate) struct OriginLog(Mutex<HashSet<String>>);

impl OriginLog {
    pub(crate) fn record(&self, origin: &str) {
        let origin: String = origin.chars().take(ORIGIN_CHARS_MAX).collect();
        if !self.add(&origin) {
            return;
        }
        warn!(
            origin,
            origins.max = ORIGINS_MAX,
            "http: web pages from this origin are not allowed to receive live feeds, so their \
             connections are refused; if the origin is yours, add it to http.allowed_origins"
        );
    }

    /// Adds an origin and returns whether to log it.
    fn add(&self, origin: &str) -> bool {
        let mut known = self.0.lock();
        known.len() < ORIGINS_MAX && !known.contains(origin) && known.insert(origin.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_origin_is_logged_once_up_to_a_limit() {
        let log = OriginLog::default();
        assert_eq!(["a", "b", "a"].map(|origin| log.add(origin)), [true, true, false]);
        let logged = (0..2 * ORIGINS_MAX).filter(|number| log.add(&number.to_string())).count();
        assert_eq!(logged, ORIGINS_MAX - 2);
    }
}
