//! Page trends: the comparison of a sample with an earlier sample.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{Host, PageVisitors, Sample};
use crate::clock::Timestamp;

/// A sample, compared with an earlier sample and with the baseline of each page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrendSnapshot {
    /// The host.
    pub host: Host,
    /// The time of the sample.
    pub sampled_at: Timestamp,
    /// The number of visitors to the whole host.
    pub visitors: u64,
    /// Whether all visitors were counted. If not, a fixed fraction of them was counted and the
    /// totals were extrapolated.
    pub exact: bool,
    /// The time of the earlier sample, if there is one.
    pub compared_to: Option<Timestamp>,
    /// The top pages, in the order of the sample.
    pub pages: Vec<PageTrend>,
}

/// A page in a [`TrendSnapshot`]. Redis stores the JSON, so the JSON names of the fields must not
/// change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PageTrend {
    /// The path of the page.
    pub path: String,
    /// The title of the page, if known.
    pub title: Option<String>,
    /// The number of visitors.
    pub visitors: u64,
    /// The number of visitors in the earlier sample, if it contains the page.
    #[serde(rename = "before")]
    pub previous: Option<u64>,
    /// The average number of visitors at this hour of the day, if known.
    #[serde(rename = "usual")]
    pub baseline: Option<f64>,
}

impl TrendSnapshot {
    /// Compares a sample with an earlier sample and with the baselines. `baseline` maps the path of
    /// a page to the average number of visitors at this hour of the day.
    #[must_use]
    pub fn new(sample: Sample, earlier: Option<&Sample>, baseline: &HashMap<String, f64>) -> Self {
        let Sample { host, sampled_at, visitors, exact, pages } = sample;
        let pages = pages.into_iter().map(|page| {
            let baseline = baseline.get(&page.path).copied();
            let PageVisitors { path, title, visitors } = page;
            PageTrend { path, title, visitors, previous: None, baseline }
        });
        let pages = pages.collect();
        let mut snapshot = Self { host, sampled_at, visitors, exact, compared_to: None, pages };
        snapshot.compare_with(earlier);
        snapshot
    }

    /// Compares the sample with a different earlier sample. `None` removes the comparison.
    pub fn compare_with(&mut self, earlier: Option<&Sample>) {
        self.compared_to = earlier.map(|earlier| earlier.sampled_at);
        let previous: HashMap<_, _> = earlier.map_or_else(HashMap::new, |earlier| {
            earlier.pages.iter().map(|page| (page.path.as_str(), page.visitors)).collect()
        });
        for page in &mut self.pages {
            page.previous = previous.get(page.path.as_str()).copied();
        }
    }

    /// Returns the sample without the comparison.
    #[must_use]
    pub fn to_sample(&self) -> Sample {
        let pages = self.pages.iter().map(|page| PageVisitors {
            path: page.path.clone(),
            title: page.title.clone(),
            visitors: page.visitors,
        });
        Sample {
            host: self.host.clone(),
            sampled_at: self.sampled_at,
            visitors: self.visitors,
            exact: self.exact,
            pages: pages.collect(),
        }
    }
}
