//! Rankings of a host's pages: by score, and by the increase in visitors.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::{
    Host, Window, score,
    trend::{PageTrend, TrendSnapshot},
};
#[cfg(feature = "openapi")]
use super::{PagePath, PageTitle};
use crate::clock::Timestamp;

/// A page with more visitors than in the earlier sample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Increase {
    /// The path of the page.
    #[cfg_attr(feature = "openapi", schema(value_type = PagePath))]
    pub path: String,
    /// The title of the page, if known.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<PageTitle>, required))]
    pub title: Option<String>,
    /// The number of visitors.
    pub visitors: u64,
    /// The increase in visitors.
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    pub change: u64,
}

/// The pages of a host, ranked by trend.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Rising))]
pub struct TrendRanking {
    /// The host.
    pub host: Host,
    /// The time of the sample.
    pub sampled_at: Timestamp,
    /// The time of the earlier sample; null if no sample is old enough.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub compared_to: Option<Timestamp>,
    /// The intended interval between the two samples.
    pub window: Window,
    /// The pages by score, then change, then visitors, each in descending order.
    #[cfg_attr(feature = "openapi", schema(max_items = 100))]
    pub pages: Vec<RankedPage>,
}

/// The trend of a page.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = RisingPage))]
pub struct RankedPage {
    /// The path of the page.
    #[cfg_attr(feature = "openapi", schema(value_type = PagePath))]
    pub path: String,
    /// The title of the page, if known.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<PageTitle>, required))]
    pub title: Option<String>,
    /// The number of visitors.
    pub visitors: u64,
    /// The change in the number of visitors; null if there is no earlier sample, or if the page was
    /// not among its top pages.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub change: Option<i64>,
    /// The change relative to the earlier number of visitors, rounded to thousandths; null if the
    /// earlier number is 0 or unknown.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub rate: Option<f64>,
    /// How unusual the number of visitors is, in approximate standard deviations, rounded to
    /// hundredths: the signed square root of the Poisson deviance from the expected number. The
    /// expected number is the usual number for this page at this hour of the day or, if that is
    /// unknown, the earlier number. An expected number below 1 is raised to 1. Null if `change` is
    /// null.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub score: Option<f64>,
}

impl From<&PageTrend> for RankedPage {
    #[expect(clippy::cast_precision_loss, reason = "visitor counts are far below 2^53")]
    fn from(page: &PageTrend) -> Self {
        let difference =
            |previous: u64| i64::try_from(page.visitors).ok()?.checked_sub_unsigned(previous);
        let change = page.previous.and_then(difference);
        let rate = change.zip(page.previous).filter(|(_, previous)| *previous > 0);
        let expected = page.previous.map(|previous| page.baseline.unwrap_or(previous as f64));
        Self {
            path: page.path.clone(),
            title: page.title.clone(),
            visitors: page.visitors,
            change,
            rate: rate.map(|(change, previous)| round(change as f64 / previous as f64, 1_000.0)),
            score: expected.map(|expected| round(score(page.visitors as f64, expected), 100.0)),
        }
    }
}

fn round(number: f64, precision: f64) -> f64 {
    (number * precision).round() / precision
}

impl TrendSnapshot {
    /// Ranks the pages by score, change, visitors (each in descending order) and path.
    #[must_use]
    pub fn to_ranking(&self, window: Window) -> TrendRanking {
        let mut pages: Vec<_> = self.pages.iter().map(RankedPage::from).collect();
        pages.sort_by(|a, b| {
            let score = |page: &RankedPage| page.score.unwrap_or(f64::NEG_INFINITY);
            score(b)
                .total_cmp(&score(a))
                .then_with(|| b.change.cmp(&a.change))
                .then_with(|| b.visitors.cmp(&a.visitors))
                .then_with(|| a.path.cmp(&b.path))
        });
        TrendRanking {
            host: self.host.clone(),
            sampled_at: self.sampled_at,
            compared_to: self.compared_to,
            window,
            pages,
        }
    }

    /// Returns the pages with more visitors than in the earlier sample, greatest change first; ties
    /// are in sample order. A page that the earlier sample does not contain has no known change and
    /// is omitted.
    #[must_use]
    pub fn to_increases(&self) -> Vec<Increase> {
        let mut increases: Vec<_> = self
            .pages
            .iter()
            .filter_map(|page| {
                let change = page.visitors.checked_sub(page.previous?).filter(|more| *more > 0)?;
                let (path, title) = (page.path.clone(), page.title.clone());
                Some(Increase { path, title, visitors: page.visitors, change })
            })
            .collect();
        increases.sort_by_key(|increase| Reverse(increase.change));
        increases
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{
        super::{PageVisitors, Sample},
        *,
    };

    fn sample(second: i64, pages: &[(&str, u64)]) -> Sample {
        let pages = pages.iter().map(|(path, visitors)| PageVisitors {
            path: (*path).to_owned(),
            title: Some("the same".to_owned()),
            visitors: *visitors,
        });
        Sample {
            host: Host::parse("a.org").expect("a host"),
            sampled_at: Timestamp::from_millis(second * 1_000),
            visitors: 0,
            exact: true,
            pages: pages.collect(),
        }
    }

    fn increases(snapshot: &TrendSnapshot) -> Vec<(String, u64)> {
        snapshot.to_increases().into_iter().map(|one| (one.path, one.change)).collect()
    }

    #[test]
    fn increases_are_sorted_by_change_and_then_in_sample_order() {
        let before = sample(0, &[("/a", 10), ("/b", 10), ("/c", 10), ("/gone", 10), ("/same", 4)]);
        let now = sample(5, &[("/b", 15), ("/c", 12), ("/a", 12), ("/new", 9), ("/same", 4)]);
        let snapshot = TrendSnapshot::new(now, Some(&before), &HashMap::new());
        let expected = [("/b", 5), ("/c", 2), ("/a", 2)].map(|(path, n)| (path.to_owned(), n));
        assert_eq!(increases(&snapshot), expected);
        let first = TrendSnapshot::new(sample(0, &[("/a", 10)]), None, &HashMap::new());
        assert!(first.to_increases().is_empty());
    }

    #[test]
    fn change_is_unknown_without_an_earlier_sample() {
        let snapshot = TrendSnapshot::new(sample(5, &[("/a", 10)]), None, &HashMap::new());
        let ranking = snapshot.to_ranking(Window::Hour);
        let page = &ranking.pages[0];
        assert_eq!(
            (ranking.compared_to, page.change, page.rate, page.score),
            (None, None, None, None)
        );
    }

    #[test]
    fn score_compares_with_the_baseline() {
        let baseline = HashMap::from([("/noon".to_owned(), 148.0)]);
        let before = sample(0, &[("/noon", 50), ("/news", 50), ("/big", 5_000)]);
        let now = sample(60, &[("/big", 5_150), ("/news", 150), ("/noon", 150)]);
        let ranking = TrendSnapshot::new(now, Some(&before), &baseline).to_ranking(Window::Minute);
        let order: Vec<_> = ranking.pages.iter().map(|page| page.path.as_str()).collect();
        assert_eq!(order, ["/news", "/big", "/noon"]);
        let news = &ranking.pages[0];
        assert_eq!((news.change, news.rate, news.score), (Some(100), Some(2.0), Some(11.38)));
    }
}
