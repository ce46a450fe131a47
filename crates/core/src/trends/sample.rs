//! Samples of the visitors of a host.

use serde::{Deserialize, Serialize};

use super::Host;
#[cfg(feature = "openapi")]
use super::{PagePath, PageTitle};
use crate::{clock::Timestamp, limits};

/// The visitors of a host's top pages at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = HostPages))]
pub struct Sample {
    /// The host.
    pub host: Host,
    /// The time of the sample.
    pub sampled_at: Timestamp,
    /// The visitors of the whole host.
    pub visitors: u64,
    /// Whether all visitors are counted; otherwise a fixed sample of 1/2, 1/4, … of them is counted
    /// and extrapolated.
    pub exact: bool,
    /// The top pages: most visitors first, then by path.
    #[cfg_attr(feature = "openapi", schema(max_items = 100))]
    pub pages: Vec<PageVisitors>,
}

/// The visitors of a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PageVisitors {
    /// The path of the page.
    #[cfg_attr(feature = "openapi", schema(value_type = PagePath))]
    pub path: String,
    /// The title of the page, if known.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<PageTitle>, required))]
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
