//! A sample: the visitors of a host's top pages at one instant.

use serde::{Deserialize, Serialize};

use crate::{clock::Timestamp, host::Host, limits};

/// The visitors of a host's top pages at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Whose pages.
    pub host: Host,
    /// When they were counted.
    pub sampled_at: Timestamp,
    /// Visitors of the host, of all its pages.
    pub visitors: u64,
    /// Whether every visitor was counted, and not one in some.
    pub exact: bool,
    /// The top pages, at most [`limits::SAMPLE_PAGES_MAX`]: most visitors first, of one number by path.
    pub pages: Vec<PageVisitors>,
}

/// The visitors of one page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageVisitors {
    /// Which page.
    pub path: String,
    /// What it is called, if anybody said.
    pub title: Option<String>,
    /// Its visitors.
    pub visitors: u64,
}

impl Sample {
    /// Puts pages into their order and keeps the top ones.
    pub fn rank(pages: &mut Vec<PageVisitors>) {
        pages
            .sort_unstable_by(|a, b| b.visitors.cmp(&a.visitors).then_with(|| a.path.cmp(&b.path)));
        pages.truncate(limits::SAMPLE_PAGES_MAX);
    }
}
