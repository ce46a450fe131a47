//! Samples of the visitors of a host.

use serde::{Deserialize, Serialize};

use super::Host;
use crate::{clock::Timestamp, limits};

/// The visitors of a host's top pages at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The host.
    pub host: Host,
    /// The time of the sample.
    pub sampled_at: Timestamp,
    /// The visitors of the whole host.
    pub visitors: u64,
    /// Whether every visitor was counted, as opposed to a fraction of them.
    pub exact: bool,
    /// The top pages, at most [`limits::SAMPLE_PAGES_MAX`]: most visitors first, then by path.
    pub pages: Vec<PageVisitors>,
}

/// The visitors of a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageVisitors {
    /// The path of the page.
    pub path: String,
    /// The title of the page, if known.
    pub title: Option<String>,
    /// The number of visitors.
    pub visitors: u64,
}

impl Sample {
    /// Sorts pages and truncates them to the top pages.
    pub fn rank(pages: &mut Vec<PageVisitors>) {
        pages
            .sort_unstable_by(|a, b| b.visitors.cmp(&a.visitors).then_with(|| a.path.cmp(&b.path)));
        pages.truncate(limits::SAMPLE_PAGES_MAX);
    }
}
