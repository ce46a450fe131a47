//! Consumption times. The consumption time of an item (a message or a play) is the time from its
//! acceptance until the item is stored or counted. The times are collected in log-linear
//! histograms. The histograms of several workers can be added. Subtracting an earlier histogram
//! from a later one yields the histogram for the time in between.

use std::collections::BTreeMap;

use crate::Timestamp;

/// The number of buckets per power of two. From [`EXACT_BELOW_MS`] on, the width of a bucket is at
/// most an eighth of its lower bound.
const STEPS: u64 = 8;
/// Below this time, each bucket covers one millisecond.
const EXACT_BELOW_MS: u64 = 16;

/// The index of a bucket. A bucket with a greater index covers longer times.
pub type Bucket = u16;

/// Returns the bucket that covers a time in milliseconds.
#[must_use]
pub fn bucket_for(millis: u64) -> Bucket {
    let number = if millis < EXACT_BELOW_MS {
        millis
    } else {
        let power = u64::from(millis.ilog2());
        let step = (millis >> (power - 3)) - STEPS;
        EXACT_BELOW_MS + (power - 4) * STEPS + step
    };
    Bucket::try_from(number).unwrap_or(Bucket::MAX)
}

/// Returns the midpoint of a bucket, in milliseconds.
fn midpoint_ms(bucket: Bucket) -> f64 {
    let number = u64::from(bucket);
    if number < EXACT_BELOW_MS {
        return f64::from(bucket);
    }
    let (power, step) = ((number - EXACT_BELOW_MS) / STEPS + 4, (number - EXACT_BELOW_MS) % STEPS);
    let width = 2_f64.powi(i32::try_from(power).unwrap_or(i32::MAX) - 3);
    #[expect(clippy::cast_precision_loss, reason = "15 at most")]
    let steps = (STEPS + step) as f64;
    (steps + 0.5) * width - 0.5
}

/// The most recently consumed item. `at` is compared first, so the maximum of two items is the one
/// that was consumed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LastItem {
    /// The time when the item was consumed.
    pub at: Timestamp,
    /// The consumption time of the item, in milliseconds.
    pub waited_ms: u64,
}

/// The distribution of consumption times.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Consumption {
    /// The most recently consumed item.
    pub latest: Option<LastItem>,
    /// The sum of all consumption times, in milliseconds.
    pub sum_ms: u64,
    /// The number of items per bucket.
    pub buckets: BTreeMap<Bucket, u64>,
}

impl Consumption {
    /// Adds `items` items that were consumed at `at`, each with a consumption time of `millis`
    /// milliseconds.
    pub fn add(&mut self, at: Timestamp, millis: u64, items: u64) {
        if self.latest.is_none_or(|latest| latest.at <= at) {
            self.latest = Some(LastItem { at, waited_ms: millis });
        }
        self.sum_ms = self.sum_ms.saturating_add(millis.saturating_mul(items));
        *self.buckets.entry(bucket_for(millis)).or_default() += items;
    }

    /// Adds the items from another distribution.
    pub fn merge(&mut self, other: &Self) {
        self.latest = self.latest.max(other.latest);
        self.sum_ms = self.sum_ms.saturating_add(other.sum_ms);
        for (bucket, items) in &other.buckets {
            *self.buckets.entry(*bucket).or_default() += items;
        }
    }

    /// Returns the distribution of the items added since `earlier`. If any counter is lower than in
    /// `earlier`, the counters have been reset, and the result contains all items.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let has_grown = self.sum_ms >= earlier.sum_ms
            && earlier
                .buckets
                .iter()
                .all(|(bucket, items)| self.buckets.get(bucket) >= Some(items));
        if !has_grown {
            return self.clone();
        }
        let added = self.buckets.iter().filter_map(|(bucket, items)| {
            let added = items - earlier.buckets.get(bucket).unwrap_or(&0);
            (added > 0).then_some((*bucket, added))
        });
        let buckets: BTreeMap<_, _> = added.collect();
        Self {
            latest: self.latest.filter(|_| !buckets.is_empty()),
            sum_ms: self.sum_ms - earlier.sum_ms,
            buckets,
        }
    }

    /// Returns the consumption time of the most recently consumed item, in milliseconds; `None` if
    /// there is no such item.
    #[must_use]
    pub fn latest_ms(&self) -> Option<u64> {
        self.latest.map(|latest| latest.waited_ms)
    }

    /// Returns the number of items.
    #[must_use]
    pub fn items(&self) -> u64 {
        self.buckets.values().sum()
    }

    /// Returns the average consumption time in milliseconds, rounded to a tenth; `None` if there
    /// are no items.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "the result is rounded to a tenth")]
    pub fn average_ms(&self) -> Option<f64> {
        let items = self.items();
        (items > 0).then(|| round_to_tenth(self.sum_ms as f64 / items as f64))
    }

    /// Returns the quantile `q` (0 to 1) of the consumption times, in milliseconds, with a relative
    /// error of up to 1/16; `None` if there are no items.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the number of items is far below 2^53"
    )]
    pub fn quantile_ms(&self, q: f64) -> Option<f64> {
        let rank = (self.items() as f64 * q).ceil().max(1.0) as u64;
        let mut seen = 0;
        let found = self.buckets.iter().find(|(_, items)| {
            seen += **items;
            seen >= rank
        });
        found.map(|(bucket, _)| round_to_tenth(midpoint_ms(*bucket)))
    }
}

/// Rounds to a tenth.
#[must_use]
pub fn round_to_tenth(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_201_620_123);
    const LATER: Timestamp = Timestamp::from_millis(1_795_201_620_124);

    proptest! {
        #[test]
        fn midpoint_is_within_a_sixteenth(millis in 0_u64..1 << 40) {
            let middle = midpoint_ms(bucket_for(millis));
            #[expect(clippy::cast_precision_loss, reason = "below 2^40")]
            let exact = millis as f64;
            prop_assert!((middle - exact).abs() <= exact / 16.0, "{millis} {middle}");
            prop_assert!(bucket_for(millis) <= bucket_for(millis + 1));
        }
    }

    #[test]
    fn averages_and_quantiles_cover_all_items() {
        let mut all = Consumption::default();
        assert_eq!((all.average_ms(), all.quantile_ms(0.5), all.latest), (None, None, None));
        all.add(NOW, 1_000, 10);
        all.add(NOW, 2, 90);
        assert_eq!((all.items(), all.latest_ms(), all.average_ms()), (100, Some(2), Some(101.8)));
        assert_eq!((all.quantile_ms(0.5), all.quantile_ms(0.9)), (Some(2.0), Some(2.0)));
        assert!(all.quantile_ms(0.99).is_some_and(|p99| (940.0..=1_060.0).contains(&p99)));
    }

    #[test]
    fn difference_covers_the_items_added_in_between() {
        let mut all = Consumption::default();
        all.add(NOW, 5, 3);
        let before = all.clone();
        assert_eq!(all.since(&before), Consumption::default());
        all.add(LATER, 7, 1);
        let since = all.since(&before);
        assert_eq!((since.items(), since.sum_ms, since.latest_ms()), (1, 7, Some(7)));
        // The counters restart from zero, as after a data loss in Redis.
        let mut reset = Consumption::default();
        reset.add(LATER, 1, 1);
        assert_eq!(reset.since(&all), reset);
    }

    #[test]
    fn merge_retains_the_most_recently_consumed_item() {
        let (mut earlier, mut later) = (Consumption::default(), Consumption::default());
        earlier.add(NOW, 9, 1);
        later.add(LATER, 3, 1);
        for (one, other) in [(&earlier, &later), (&later, &earlier)] {
            let mut both = one.clone();
            both.merge(other);
            assert_eq!((both.items(), both.latest_ms()), (2, Some(3)));
        }
        later.merge(&Consumption::default());
        assert_eq!(later.latest_ms(), Some(3));
    }
}
