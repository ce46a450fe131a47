//! The keys of a host's visits.

use std::fmt::Display;

/// The keys of a host's visits. Scripts receive the common prefix of these keys and append the same
/// words. `visitors.lua` describes each key. [`class`](mayfly_core::trends::ShortHash::class)
/// defines the classes of visitors.
#[derive(Debug, Clone)]
pub struct VisitKeys {
    prefix: String,
}

impl VisitKeys {
    pub(super) fn new(prefix: String) -> Self {
        Self { prefix }
    }

    fn key(&self, word: impl Display) -> String {
        format!("{}:{word}", self.prefix)
    }

    /// Returns the common prefix of the keys, which is not itself a key.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Hash with a TTL: the lowest class of visitors with stored visits, the time at which this
    /// class was last lowered, and the lowest class with counted visits.
    #[must_use]
    pub fn state(&self) -> String {
        self.key("state")
    }

    /// Hash with a TTL, page to its path and title.
    #[must_use]
    pub fn names(&self) -> String {
        self.key("names")
    }

    /// Sorted set with a TTL, page and visitor to time in ms: the visits by visitors of a class.
    #[must_use]
    pub fn visits(&self, class: u32) -> String {
        self.key(format_args!("p{class}"))
    }

    /// Hash with a TTL, page to the number of its visits by visitors of a class.
    #[must_use]
    pub fn page_counts(&self, class: u32) -> String {
        self.key(format_args!("c{class}"))
    }

    /// Sorted set with a TTL, visitor to time in ms: the visitors of a class.
    #[must_use]
    pub fn visitors(&self, class: u32) -> String {
        self.key(format_args!("v{class}"))
    }
}
