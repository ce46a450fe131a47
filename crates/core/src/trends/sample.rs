//! Samples of the visitors to a host.

use serde::{Deserialize, Serialize};

use super::Host;
#[cfg(feature = "openapi")]
use super::{PagePath, PageTitle};
use crate::{clock::Timestamp, limits};

/// The numbers of visitors to a host's top pages at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = HostPages))]
pub struct Sample {
    /// The host.
    pub host: Host,
    /// The time of the sample.
    pub sampled_at: Timestamp,
    /// The number of visitors to the whole host.
    pub visitors: u64,
    /// Whether all visitors were counted. If not, a fixed fraction of them (1/2, 1/4, …) was
    /// counted and the totals were extrapolated.
    pub exact: bool,
    /// The top pages, sorted by visitors (descending) and then by path.
    #[cfg_attr(feature = "openapi", schema(max_items = 100))]
    pub pages: Vec<PageVisitors>,
}

/// The number of visitors to a page.
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
    /// Sorts the pages by visitors (descending) and then by path, and keeps only the first
    /// [`limits::SAMPLE_PAGES_MAX`].
    pub fn rank(pages: &mut Vec<PageVisitors>) {
        pages
            .sort_unstable_by(|a, b| b.visitors.cmp(&a.visitors).then_with(|| a.path.cmp(&b.path)));
        pages.truncate(limits::SAMPLE_PAGES_MAX);
    }
}
