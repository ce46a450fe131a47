//! Which pages of a host rise: what changed since an earlier sample, and how unusual it is.

use std::{collections::HashMap, fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    host::Host,
    sample::{PageVisitors, Sample},
};

/// A sample together with what there was before and what is usual: all that says what rises.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sighting {
    /// Whose pages.
    pub host: Host,
    /// When they were counted.
    pub sampled_at: Timestamp,
    /// Visitors of the host.
    pub visitors: u64,
    /// Whether every visitor was counted.
    pub exact: bool,
    /// When the sample before was taken, if there was one.
    pub compared_to: Option<Timestamp>,
    /// The top pages, in the order of the sample.
    pub pages: Vec<SightedPage>,
}

/// A page of a sighting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SightedPage {
    /// Which page.
    pub path: String,
    /// What it is called, if anybody said.
    pub title: Option<String>,
    /// Its visitors.
    pub visitors: u64,
    /// Its visitors in the sample before, if it was there.
    pub before: Option<u64>,
    /// The visitors that it usually has at this hour of the day, where that is known.
    pub usual: Option<f64>,
}

impl Sighting {
    /// A sample beside an earlier one, and what is usual for each path.
    #[must_use]
    pub fn new(sample: Sample, earlier: Option<&Sample>, usual: &HashMap<String, f64>) -> Self {
        let Sample { host, sampled_at, visitors, exact, pages } = sample;
        let pages = pages.into_iter().map(|page| {
            let usual = usual.get(&page.path).copied();
            let PageVisitors { path, title, visitors } = page;
            SightedPage { path, title, visitors, before: None, usual }
        });
        let pages = pages.collect();
        let mut sighting = Self { host, sampled_at, visitors, exact, compared_to: None, pages };
        sighting.compare(earlier);
        sighting
    }

    /// Compares it with this sample instead, or with none.
    pub fn compare(&mut self, earlier: Option<&Sample>) {
        self.compared_to = earlier.map(|earlier| earlier.sampled_at);
        let before: HashMap<_, _> = earlier.map_or_else(HashMap::new, |earlier| {
            earlier.pages.iter().map(|page| (page.path.as_str(), page.visitors)).collect()
        });
        for page in &mut self.pages {
            page.before = before.get(page.path.as_str()).copied();
        }
    }

    /// The sample itself.
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

    /// What rises: the highest score first, then the greatest change, most visitors, and by path.
    #[must_use]
    pub fn to_rising(&self, window: Window) -> Rising {
        let mut pages: Vec<_> = self.pages.iter().map(RisingPage::from).collect();
        pages.sort_by(|a, b| {
            let score = |page: &RisingPage| page.score.unwrap_or(f64::NEG_INFINITY);
            score(b)
                .total_cmp(&score(a))
                .then_with(|| b.change.cmp(&a.change))
                .then_with(|| b.visitors.cmp(&a.visitors))
                .then_with(|| a.path.cmp(&b.path))
        });
        Rising {
            host: self.host.clone(),
            sampled_at: self.sampled_at,
            compared_to: self.compared_to,
            window,
            pages,
        }
    }

    /// The pages with more visitors than before, the greatest change first, of one change in the
    /// order of the sample. A page that was not there before has no change yet.
    #[must_use]
    pub fn to_increases(&self) -> Vec<Increase> {
        let mut increases: Vec<_> = self
            .pages
            .iter()
            .filter_map(|page| {
                let change = page.visitors.checked_sub(page.before?).filter(|more| *more > 0)?;
                let (path, title) = (page.path.clone(), page.title.clone());
                Some(Increase { path, title, visitors: page.visitors, change })
            })
            .collect();
        increases.sort_by_key(|one| std::cmp::Reverse(one.change));
        increases
    }
}

/// A page that has more visitors than in the sample before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Increase {
    /// Which page.
    pub path: String,
    /// What it is called, if anybody said.
    pub title: Option<String>,
    /// Its visitors.
    pub visitors: u64,
    /// How many more than before.
    pub change: u64,
}

/// The pages of a host, those that rise first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rising {
    /// Whose pages.
    pub host: Host,
    /// When they were counted.
    pub sampled_at: Timestamp,
    /// When the sample was taken that they are compared to, if one is old enough.
    pub compared_to: Option<Timestamp>,
    /// How much earlier that is to be.
    pub window: Window,
    /// The pages.
    pub pages: Vec<RisingPage>,
}

/// How a page of a host changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RisingPage {
    /// Which page.
    pub path: String,
    /// What it is called, if anybody said.
    pub title: Option<String>,
    /// Its visitors.
    pub visitors: u64,
    /// How many more, or fewer, than before; none where it was not among the top pages then.
    pub change: Option<i64>,
    /// The change relative to what was there before, in thousandths; none where nobody was.
    pub rate: Option<f64>,
    /// How unusual its visitors are, by [`score`], in hundredths.
    pub score: Option<f64>,
}

impl From<&SightedPage> for RisingPage {
    #[expect(clippy::cast_precision_loss, reason = "visitors of a page are few enough")]
    fn from(page: &SightedPage) -> Self {
        let difference =
            |before: u64| i64::try_from(page.visitors).ok()?.checked_sub_unsigned(before);
        let change = page.before.and_then(difference);
        let rate = change.zip(page.before).filter(|(_, before)| *before > 0);
        let expected = page.before.map(|before| page.usual.unwrap_or(before as f64));
        Self {
            path: page.path.clone(),
            title: page.title.clone(),
            visitors: page.visitors,
            change,
            rate: rate.map(|(change, before)| round(change as f64 / before as f64, 1_000.0)),
            score: expected.map(|expected| round(score(page.visitors as f64, expected), 100.0)),
        }
    }
}

fn round(number: f64, parts: f64) -> f64 {
    (number * parts).round() / parts
}

/// How unusual a number of visitors is where so many are expected; positive for more, negative for
/// fewer, zero for just as many.
///
/// Visitors that come each by themselves are a Poisson count. This is its signed deviance residual,
/// `sign(n - m) sqrt(2 (n ln(n / m) - (n - m)))` (McCullagh and Nelder, "Generalized Linear Models",
/// 2nd edition, 1989, section 2.4.3): about how many standard deviations the number is away, for
/// small ones too. Growth counts for more the more it is beyond what chance brings: from 50 to 150
/// scores 11.4, from 5,000 to 5,150 scores 2.1. Less than one visitor is never expected, so that
/// three where there was one score 1.6 and not much.
#[must_use]
pub fn score(visitors: f64, expected: f64) -> f64 {
    let expected = expected.max(1.0);
    let difference = visitors - expected;
    let weighed = if visitors > 0.0 { visitors * (visitors / expected).ln() } else { 0.0 };
    // Not below zero, where the two are nearly the same.
    (2.0 * (weighed - difference)).max(0.0).sqrt().copysign(difference)
}

/// How much earlier the sample is that pages are compared to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Window {
    /// The sample before.
    #[serde(rename = "5s")]
    FiveSeconds,
    /// A minute.
    #[serde(rename = "1m")]
    Minute,
    /// Five minutes.
    #[serde(rename = "5m")]
    FiveMinutes,
    /// An hour.
    #[serde(rename = "1h")]
    Hour,
    /// A day.
    #[serde(rename = "24h")]
    Day,
}

impl Window {
    /// All of them, the shortest first.
    pub const ALL: [Self; 5] =
        [Self::FiveSeconds, Self::Minute, Self::FiveMinutes, Self::Hour, Self::Day];

    /// How long it is.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_secs(match self {
            Self::FiveSeconds => 5,
            Self::Minute => 60,
            Self::FiveMinutes => 300,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        })
    }

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FiveSeconds => "5s",
            Self::Minute => "1m",
            Self::FiveMinutes => "5m",
            Self::Hour => "1h",
            Self::Day => "24h",
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Window {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let known = Self::ALL.into_iter().find(|window| window.as_str() == text);
        known.ok_or("must be 5s, 1m, 5m, 1h or 24h")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn increases(sighting: &Sighting) -> Vec<(String, u64)> {
        sighting.to_increases().into_iter().map(|one| (one.path, one.change)).collect()
    }

    #[test]
    fn growth_beyond_chance_is_preferred_to_a_greater_number() {
        let close = |score: f64, to: f64| (score - to).abs() < 0.05;
        assert!(close(score(150.0, 50.0), 11.4) && close(score(5_150.0, 5_000.0), 2.1));
        assert!(close(score(3.0, 1.0), 1.6) && close(score(3.0, 0.0), 1.6));
        assert!(close(score(50.0, 150.0), -9.5), "{}", score(50.0, 150.0));
        assert!(close(score(0.0, 50.0), -10.0) && close(score(7.0, 7.0), 0.0));
    }

    #[test]
    fn only_pages_that_grew_are_listed_the_greatest_change_first_and_ties_in_their_order() {
        let before = sample(0, &[("/a", 10), ("/b", 10), ("/c", 10), ("/gone", 10), ("/same", 4)]);
        let now = sample(5, &[("/b", 15), ("/c", 12), ("/a", 12), ("/new", 9), ("/same", 4)]);
        let sighting = Sighting::new(now, Some(&before), &HashMap::new());
        let expected = [("/b", 5), ("/c", 2), ("/a", 2)].map(|(path, n)| (path.to_owned(), n));
        assert_eq!(increases(&sighting), expected);
        let first = Sighting::new(sample(0, &[("/a", 10)]), None, &HashMap::new());
        assert!(first.to_increases().is_empty());
    }

    #[test]
    fn where_nothing_is_old_enough_there_is_no_change() {
        let sighting = Sighting::new(sample(5, &[("/a", 10)]), None, &HashMap::new());
        let rising = sighting.to_rising(Window::Hour);
        let page = &rising.pages[0];
        assert_eq!(
            (rising.compared_to, page.change, page.rate, page.score),
            (None, None, None, None)
        );
    }

    #[test]
    fn a_page_is_weighed_against_what_is_usual() {
        let usual = HashMap::from([("/noon".to_owned(), 148.0)]);
        let before = sample(0, &[("/noon", 50), ("/news", 50), ("/big", 5_000)]);
        let now = sample(60, &[("/big", 5_150), ("/news", 150), ("/noon", 150)]);
        let rising = Sighting::new(now, Some(&before), &usual).to_rising(Window::Minute);
        let order: Vec<_> = rising.pages.iter().map(|page| page.path.as_str()).collect();
        assert_eq!(order, ["/news", "/big", "/noon"]);
        let news = &rising.pages[0];
        assert_eq!((news.change, news.rate, news.score), (Some(100), Some(2.0), Some(11.38)));
    }

    #[test]
    fn a_window_is_read_as_it_is_written() {
        for window in Window::ALL {
            assert_eq!(window.to_string().parse(), Ok(window));
            assert_eq!(serde_json::to_string(&window).ok(), Some(format!("\"{window}\"")));
        }
        assert!("2m".parse::<Window>().is_err());
    }
}
