//! The log of origins and hosts that are not allowed.

use std::collections::HashSet;

use parking_lot::Mutex;
use tracing::warn;

/// Maximum number of origins that are logged, and maximum number of hosts.
const NAMES_MAX: usize = 100;
/// Maximum length of a logged origin or host, in characters.
const NAME_CHARS_MAX: usize = 256;

/// A log of origins and hosts that are not allowed. Logs each of them at most once. Clients can
/// invent origins and hosts, so the number of logged ones is limited.
#[derive(Default)]
pub(crate) struct ForbiddenLog {
    origins: LoggedNames,
    hosts: LoggedNames,
}

impl ForbiddenLog {
    pub(crate) fn record_origin(&self, origin: &str) {
        if let Some(origin) = self.origins.add(origin) {
            warn!(
                origin,
                origins.max = NAMES_MAX,
                "http: web pages from this origin are not allowed to receive live feeds, so their \
                 connections are refused; if the origin is yours, add it to http.allowed_origins"
            );
        }
    }

    pub(crate) fn record_host(&self, host: &str) {
        if let Some(host) = self.hosts.add(host) {
            warn!(
                host,
                hosts.max = NAMES_MAX,
                "http: WebSockets to this host are not allowed, so they are refused; if the host \
                 is yours, add it to http.allowed_hosts"
            );
        }
    }
}

/// The names that have been logged.
#[derive(Default)]
struct LoggedNames(Mutex<HashSet<String>>);

impl LoggedNames {
    /// Adds a name and returns its loggable part, or `None` if the name must not be logged.
    fn add(&self, name: &str) -> Option<String> {
        let name: String = name.chars().take(NAME_CHARS_MAX).collect();
        let mut logged = self.0.lock();
        let is_new = logged.len() < NAMES_MAX && logged.insert(name.clone());
        is_new.then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_logged_once_up_to_a_limit() {
        let names = LoggedNames::default();
        let add = |name: &str| names.add(name).is_some();
        assert_eq!(["a", "b", "a"].map(add), [true, true, false]);
        let logged = (0..2 * NAMES_MAX).filter(|number| add(&number.to_string())).count();
        assert_eq!(logged, NAMES_MAX - 2);
        let names = LoggedNames::default();
        assert_eq!(names.add(&"x".repeat(300)), Some("x".repeat(NAME_CHARS_MAX)));
    }
}
