//! The history of a page: the number of visitors by hour and by hour of the day.

use std::time::Duration;

use serde::Serialize;

use super::PagePath;
use crate::clock::Timestamp;

const HOUR: Duration = Duration::from_secs(3_600);

/// The totals for a page in one hour, over the samples that contain the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HourTotals {
    /// The start of the hour.
    pub hour: Timestamp,
    /// The number of samples.
    pub samples: u64,
    /// The sum of the visitor counts in these samples.
    pub visitors_sum: u64,
    /// The minimum number of visitors in a sample.
    pub least: u64,
    /// The maximum number of visitors in a sample.
    pub most: u64,
}

/// The number of visitors to a page over time. Hours are in UTC.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct History {
    /// The path of the page.
    pub path: PagePath,
    /// The hours in which the page was among the top pages, oldest first.
    #[cfg_attr(feature = "openapi", schema(max_items = 9600))]
    pub hours: Vec<HistoryHour>,
    /// The number of visitors for each hour of the day, ordered by hour. Hours without samples are
    /// omitted.
    #[cfg_attr(feature = "openapi", schema(max_items = 24))]
    pub by_hour_of_day: Vec<HourOfDay>,
}

/// The number of visitors to a page in one hour.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HistoryHour {
    /// The start of the hour.
    pub hour: Timestamp,
    /// The number of samples that contain the page.
    pub samples: u64,
    /// The average number of visitors per sample, rounded to hundredths.
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub average: f64,
    /// The minimum number of visitors in a sample.
    pub least: u64,
    /// The maximum number of visitors in a sample.
    pub most: u64,
    /// The difference from the rounded average of the preceding hour; null if the page was not
    /// among the top pages in that hour.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub change: Option<f64>,
}

/// The number of visitors to a page during one hour of the day, across all days.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HourOfDay {
    /// The hour of the day, 0 to 23.
    #[cfg_attr(feature = "openapi", schema(maximum = 23))]
    pub hour_of_day: u8,
    /// The number of samples that contain the page.
    pub samples: u64,
    /// The average number of visitors per sample, rounded to hundredths.
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub average: f64,
    /// The minimum number of visitors in a sample.
    pub least: u64,
    /// The maximum number of visitors in a sample.
    pub most: u64,
}

impl History {
    /// Creates the history that starts at `from`. `totals` must be sorted, oldest first. Hours
    /// before `from` are used only to compute the change in the first hour.
    #[must_use]
    pub fn new(path: PagePath, totals: &[HourTotals], from: Timestamp) -> Self {
        let is_included = |sum: &HourTotals| sum.samples > 0 && sum.hour >= from;
        let mut previous: Option<HourTotals> = None;
        let mut hours = Vec::with_capacity(totals.len());
        for sum in totals {
            let earlier = previous.replace(*sum).filter(|earlier| earlier.directly_precedes(sum));
            if is_included(sum) {
                hours.push(sum.to_hour(earlier));
            }
        }
        let by_hour_of_day = by_hour_of_day(totals.iter().filter(|sum| is_included(sum)));
        Self { path, hours, by_hour_of_day }
    }
}

impl HourTotals {
    fn directly_precedes(&self, other: &Self) -> bool {
        self.samples > 0 && self.hour.plus(HOUR) == other.hour
    }

    fn to_hour(self, earlier: Option<Self>) -> HistoryHour {
        let Self { hour, samples, least, most, .. } = self;
        let average = self.average_hundredths();
        let change = earlier.map(|earlier| average.saturating_sub(earlier.average_hundredths()));
        let (average, change) = (from_hundredths(average), change.map(from_hundredths));
        HistoryHour { hour, samples, average, least, most, change }
    }

    /// Returns the average in hundredths, rounded half up. Integer arithmetic is exact, so a change
    /// equals the difference between two rounded averages.
    fn average_hundredths(&self) -> i64 {
        let samples = u128::from(self.samples.max(1));
        let doubled = (u128::from(self.visitors_sum) * 200 + samples) / samples;
        i64::try_from(doubled / 2).unwrap_or(i64::MAX)
    }
}

#[expect(clippy::cast_precision_loss, reason = "visitor counts in hundredths are far below 2^53")]
fn from_hundredths(number: i64) -> f64 {
    number as f64 / 100.0
}

fn by_hour_of_day<'a>(sums: impl Iterator<Item = &'a HourTotals>) -> Vec<HourOfDay> {
    let mut days: [Option<HourTotals>; 24] = [None; 24];
    for sum in sums {
        let hour_of_day = sum.hour.hour_of_day();
        let Some(slot) = days.get_mut(usize::from(hour_of_day)) else { continue };
        *slot = Some(slot.map_or(*sum, |all| HourTotals {
            hour: all.hour,
            samples: all.samples.saturating_add(sum.samples),
            visitors_sum: all.visitors_sum.saturating_add(sum.visitors_sum),
            least: all.least.min(sum.least),
            most: all.most.max(sum.most),
        }));
    }
    let to_hour_of_day = |(hour_of_day, sum): (u8, Option<HourTotals>)| {
        let sum = sum?;
        let average = from_hundredths(sum.average_hundredths());
        let HourTotals { samples, least, most, .. } = sum;
        Some(HourOfDay { hour_of_day, samples, average, least, most })
    };
    (0..).zip(days).filter_map(to_hour_of_day).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// 2026-11-20T00:00:00Z.
    const MIDNIGHT_MS: i64 = 1_795_132_800_000;

    fn hour(number: i64) -> Timestamp {
        Timestamp::from_millis(MIDNIGHT_MS + number * 3_600_000)
    }

    /// Returns the totals for the samples of one hour.
    fn sum(number: i64, samples: &[u64]) -> HourTotals {
        HourTotals {
            hour: hour(number),
            samples: samples.len() as u64,
            visitors_sum: samples.iter().sum(),
            least: samples.iter().copied().min().unwrap_or(0),
            most: samples.iter().copied().max().unwrap_or(0),
        }
    }

    fn history(sums: &[HourTotals], from: i64) -> History {
        History::new(PagePath::parse("/a").expect("a path"), sums, hour(from))
    }

    fn close(shown: f64, expected: f64) -> bool {
        (shown - expected).abs() < 1e-9
    }

    #[test]
    fn change_is_the_difference_between_rounded_averages() {
        let sums = [sum(8, &[3, 3, 4]), sum(9, &[10, 11, 11]), sum(11, &[1])];
        let shown = serde_json::to_value(history(&sums, 8)).expect("it is JSON");
        let changes: Vec<_> = shown["hours"].as_array().expect("hours").iter().collect();
        assert_eq!(changes[0]["average"], 3.33);
        assert_eq!(changes[1]["average"], 10.67);
        assert_eq!(changes[1]["change"], 7.34);
        assert!(changes[0]["change"].is_null() && changes[2]["change"].is_null());
        assert_eq!(changes[1]["hour"], "2026-11-20T09:00:00.000Z");
    }

    #[test]
    fn hour_before_the_range_determines_only_the_first_change() {
        let history = history(&[sum(8, &[5]), sum(9, &[3])], 9);
        assert_eq!(history.hours.len(), 1);
        assert_eq!(history.hours[0].change, Some(-2.0));
        assert_eq!(history.by_hour_of_day.len(), 1);
        assert_eq!(history.by_hour_of_day[0].hour_of_day, 9);
    }

    #[test]
    fn no_samples_yield_an_empty_history() {
        let history = history(&[], 0);
        assert!(history.hours.is_empty() && history.by_hour_of_day.is_empty());
    }

    proptest! {
        #[test]
        fn hours_match_the_individual_samples(
            days in proptest::collection::btree_map(
                -40_i64..200,
                proptest::collection::vec(0_u64..10_000, 1..20),
                0..60,
            ),
            from in -50_i64..100,
        ) {
            let sums: Vec<_> = days.iter().map(|(number, samples)| sum(*number, samples)).collect();
            let history = history(&sums, from);
            let average = |samples: &[u64]| {
                let to_f64 = |visitors: &u64| f64::from(u32::try_from(*visitors).expect("small"));
                let sum: f64 = samples.iter().map(to_f64).sum();
                let len = f64::from(u32::try_from(samples.len()).expect("few"));
                // Multiplying first keeps halves exact.
                (sum * 100.0 / len).round() / 100.0
            };
            let mut by_hour: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
            let expected: Vec<_> = days.iter().filter(|(number, _)| **number >= from).collect();
            prop_assert_eq!(history.hours.len(), expected.len());
            for (shown, (number, samples)) in history.hours.iter().zip(expected) {
                by_hour.entry(number.rem_euclid(24)).or_default().extend(samples);
                prop_assert_eq!(shown.hour, hour(*number));
                prop_assert!(close(shown.average, average(samples)));
                prop_assert_eq!(shown.samples, samples.len() as u64);
                prop_assert_eq!(Some(&shown.least), samples.iter().min());
                prop_assert_eq!(Some(&shown.most), samples.iter().max());
                let previous = days.get(&(number - 1));
                let change = previous.map(|previous| average(samples) - average(previous));
                prop_assert_eq!(shown.change.is_some(), change.is_some());
                let is_close = |(shown, expected)| close(shown, expected);
                prop_assert!(shown.change.zip(change).is_none_or(is_close));
            }
            prop_assert_eq!(history.by_hour_of_day.len(), by_hour.len());
            for (shown, (hour_of_day, samples)) in history.by_hour_of_day.iter().zip(by_hour) {
                prop_assert_eq!(i64::from(shown.hour_of_day), hour_of_day);
                prop_assert!(close(shown.average, average(&samples)));
                prop_assert_eq!(Some(&shown.least), samples.iter().min());
                prop_assert_eq!(Some(&shown.most), samples.iter().max());
            }
        }
    }
}
