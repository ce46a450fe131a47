//! How the visitors of a page rose and fell: hour by hour, and over the hours of the day.

use std::time::Duration;

use serde::Serialize;

use crate::{clock::Timestamp, host::PagePath};

const HOUR: Duration = Duration::from_secs(3_600);

/// The visitors of a page in one hour, over the samples that it was in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HourSum {
    /// When the hour began.
    pub hour: Timestamp,
    /// Samples that the page was in.
    pub samples: u64,
    /// The sum of its visitors over these.
    pub visitors_sum: u64,
    /// The fewest.
    pub least: u64,
    /// The most.
    pub most: u64,
}

/// The visitors of a page over some days, in UTC.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct History {
    /// Which page.
    pub path: PagePath,
    /// The hours in which it was among the top pages, the oldest first.
    pub hours: Vec<HistoryHour>,
    /// The same by the hour of the day: those that occur, from 0 to 23.
    pub by_hour_of_day: Vec<HourOfDay>,
}

/// One hour.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HistoryHour {
    /// When it began.
    pub hour: Timestamp,
    /// Samples that the page was in.
    pub samples: u64,
    /// Its visitors over these, in hundredths.
    pub average: f64,
    /// The fewest.
    pub least: u64,
    /// The most.
    pub most: u64,
    /// The average less that of the hour exactly before, both as they are shown; none where the
    /// page was not among the top pages then.
    pub change: Option<f64>,
}

/// An hour of the day, over all days.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HourOfDay {
    /// From 0 to 23.
    pub hour_of_day: u8,
    /// Samples that the page was in.
    pub samples: u64,
    /// Its visitors over these, in hundredths.
    pub average: f64,
    /// The fewest.
    pub least: u64,
    /// The most.
    pub most: u64,
}

impl History {
    /// Makes it of sums, the oldest first. Hours before `from` only say what the first changed from.
    #[must_use]
    pub fn new(path: PagePath, sums: &[HourSum], from: Timestamp) -> Self {
        let is_shown = |sum: &HourSum| sum.samples > 0 && sum.hour >= from;
        let mut before: Option<HourSum> = None;
        let mut hours = Vec::with_capacity(sums.len());
        for sum in sums {
            let earlier = before.replace(*sum).filter(|earlier| earlier.is_just_before(sum));
            if is_shown(sum) {
                hours.push(sum.to_hour(earlier));
            }
        }
        let by_hour_of_day = by_hour_of_day(sums.iter().filter(|sum| is_shown(sum)));
        Self { path, hours, by_hour_of_day }
    }
}

impl HourSum {
    fn is_just_before(&self, other: &Self) -> bool {
        self.samples > 0 && self.hour.plus(HOUR) == other.hour
    }

    fn to_hour(self, earlier: Option<Self>) -> HistoryHour {
        let Self { hour, samples, least, most, .. } = self;
        let average = self.average_hundredths();
        let change = earlier.map(|earlier| average.saturating_sub(earlier.average_hundredths()));
        let (average, change) = (of_hundredths(average), change.map(of_hundredths));
        HistoryHour { hour, samples, average, least, most, change }
    }

    /// Whole hundredths, so that what is shown adds up: rounded to the nearest, halves up.
    fn average_hundredths(&self) -> i64 {
        let samples = u128::from(self.samples.max(1));
        let doubled = (u128::from(self.visitors_sum) * 200 + samples) / samples;
        i64::try_from(doubled / 2).unwrap_or(i64::MAX)
    }
}

#[expect(clippy::cast_precision_loss, reason = "visitors of a page are few enough")]
fn of_hundredths(number: i64) -> f64 {
    number as f64 / 100.0
}

fn by_hour_of_day<'a>(sums: impl Iterator<Item = &'a HourSum>) -> Vec<HourOfDay> {
    let mut days: [Option<HourSum>; 24] = [None; 24];
    for sum in sums {
        let place = sum.hour.hour_of_day();
        let Some(slot) = days.get_mut(usize::from(place)) else { continue };
        *slot = Some(slot.map_or(*sum, |all| HourSum {
            hour: all.hour,
            samples: all.samples.saturating_add(sum.samples),
            visitors_sum: all.visitors_sum.saturating_add(sum.visitors_sum),
            least: all.least.min(sum.least),
            most: all.most.max(sum.most),
        }));
    }
    let of_day = |(place, sum): (u8, Option<HourSum>)| {
        let sum = sum?;
        let average = of_hundredths(sum.average_hundredths());
        let HourSum { samples, least, most, .. } = sum;
        Some(HourOfDay { hour_of_day: place, samples, average, least, most })
    };
    (0..).zip(days).filter_map(of_day).collect()
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

    /// The sum of what single samples of an hour showed.
    fn sum(number: i64, samples: &[u64]) -> HourSum {
        HourSum {
            hour: hour(number),
            samples: samples.len() as u64,
            visitors_sum: samples.iter().sum(),
            least: samples.iter().copied().min().unwrap_or(0),
            most: samples.iter().copied().max().unwrap_or(0),
        }
    }

    fn history(sums: &[HourSum], from: i64) -> History {
        History::new(PagePath::parse("/a").expect("a path"), sums, hour(from))
    }

    fn close(shown: f64, wanted: f64) -> bool {
        (shown - wanted).abs() < 1e-9
    }

    #[test]
    fn a_change_is_against_the_hour_exactly_before_and_adds_up_as_it_is_shown() {
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
    fn an_hour_before_the_first_says_what_that_changed_from_and_is_not_shown() {
        let history = history(&[sum(8, &[5]), sum(9, &[3])], 9);
        assert_eq!(history.hours.len(), 1);
        assert_eq!(history.hours[0].change, Some(-2.0));
        assert_eq!(history.by_hour_of_day.len(), 1);
        assert_eq!(history.by_hour_of_day[0].hour_of_day, 9);
    }

    #[test]
    fn nothing_known_is_no_hours() {
        let history = history(&[], 0);
        assert!(history.hours.is_empty() && history.by_hour_of_day.is_empty());
    }

    proptest! {
            #[test]
            fn hours_are_as_computed_from_single_samples(
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
                    let sum: f64 = samples.iter().map(|one| f64::from(u32::try_from(*one).expect("small"))).sum();
    let len = f64::from(u32::try_from(samples.len()).expect("few"));
                    // Multiplied first, so that halves are halves.
                    (sum * 100.0 / len).round() / 100.0
                };
                let mut of_day: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
                let wanted: Vec<_> = days.iter().filter(|(number, _)| **number >= from).collect();
                prop_assert_eq!(history.hours.len(), wanted.len());
                for (shown, (number, samples)) in history.hours.iter().zip(wanted) {
                    of_day.entry(number.rem_euclid(24)).or_default().extend(samples);
                    prop_assert_eq!(shown.hour, hour(*number));
                    prop_assert!(close(shown.average, average(samples)));
                    prop_assert_eq!(shown.samples, samples.len() as u64);
                    prop_assert_eq!(Some(&shown.least), samples.iter().min());
                    prop_assert_eq!(Some(&shown.most), samples.iter().max());
                    let before = days.get(&(number - 1)).map(|before| average(samples) - average(before));
                    prop_assert_eq!(shown.change.is_some(), before.is_some());
                    prop_assert!(shown.change.zip(before).is_none_or(|(shown, wanted)| close(shown, wanted)));
                }
                prop_assert_eq!(history.by_hour_of_day.len(), of_day.len());
                for (shown, (place, samples)) in history.by_hour_of_day.iter().zip(of_day) {
                    prop_assert_eq!(i64::from(shown.hour_of_day), place);
                    prop_assert!(close(shown.average, average(&samples)));
                    prop_assert_eq!(Some(&shown.least), samples.iter().min());
                    prop_assert_eq!(Some(&shown.most), samples.iter().max());
                }
            }
        }
}
