//! The keys of the visits of a host.

use std::fmt::Display;

/// The keys of the visits of a host. Scripts receive their common beginning and append the same
/// words; `visitors.lua` describes them.
#[derive(Debug, Clone)]
pub struct VisitKeys {
    beginning: String,
}

impl VisitKeys {
    pub(super) fn new(beginning: String) -> Self {
        Self { beginning }
    }

    fn key(&self, word: impl Display) -> String {
        format!("{}:{word}", self.beginning)
    }

    /// Returns the common beginning of the keys, which is no key itself.
    #[must_use]
    pub fn beginning(&self) -> &str {
        &self.beginning
    }

    /// Hash with a TTL: the classes of visitors that are stored and counted.
    #[must_use]
    pub fn state(&self) -> String {
        self.key("state")
    }

    /// Hash with a TTL, page to its path and title.
    #[must_use]
    pub fn names(&self) -> String {
        self.key("names")
    }

    /// Sorted set with a TTL, page and visitor to ms: the visits of a class of visitors.
    #[must_use]
    pub fn visits(&self, class: u32) -> String {
        self.key(format_args!("p{class}"))
    }

    /// Hash with a TTL, page to its number of visitors of a class.
    #[must_use]
    pub fn page_counts(&self, class: u32) -> String {
        self.key(format_args!("c{class}"))
    }

    /// Sorted set with a TTL, visitor to ms: the visitors of a class.
    #[must_use]
    pub fn visitors(&self, class: u32) -> String {
        self.key(format_args!("v{class}"))
    }
}
