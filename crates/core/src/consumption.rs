//! Consumption times: how long items waited from acceptance until they were stored or counted, as
//! counts by bucket, which add up over workers and whose differences are those of a span of time.

use std::collections::BTreeMap;

use crate::Timestamp;

/// Of each power of two, so many buckets: a bucket is at most an eighth of its value wide.
const STEPS: u64 = 8;
/// Below this a bucket is one millisecond.
const EXACT_BELOW_MS: u64 = 16;

/// A bucket, by its number; greater numbers are longer times.
pub type Bucket = u16;

/// The bucket of a time.
#[must_use]
pub fn bucket_of(millis: u64) -> Bucket {
    let number = if millis < EXACT_BELOW_MS {
        millis
    } else {
        let power = u64::from(millis.ilog2());
        let step = (millis >> (power - 3)) - STEPS;
        EXACT_BELOW_MS + (power - 4) * STEPS + step
    };
    Bucket::try_from(number).unwrap_or(Bucket::MAX)
}

/// The middle of a bucket, in milliseconds.
fn middle_of(bucket: Bucket) -> f64 {
    let number = u64::from(bucket);
    if number < EXACT_BELOW_MS {
        return f64::from(bucket);
    }
    let (power, step) = ((number - EXACT_BELOW_MS) / STEPS + 4, (number - EXACT_BELOW_MS) % STEPS);
    let width = 2_f64.powi(i32::try_from(power).unwrap_or(i32::MAX) - 3);
    #[expect(clippy::cast_precision_loss, reason = "eight at most")]
    let steps = (STEPS + step) as f64;
    (steps + 0.5) * width - 0.5
}

/// The last item that was consumed. The one that was consumed later is the greater one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Latest {
    /// When it was consumed.
    pub at: Timestamp,
    /// How long it had waited, in milliseconds.
    pub waited_ms: u64,
}

/// How long many items took.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Consumption {
    /// The last one of them; none where there was none.
    pub latest: Option<Latest>,
    /// The sum of all, in milliseconds.
    pub sum_ms: u64,
    /// How many, by bucket.
    pub buckets: BTreeMap<Bucket, u64>,
}

impl Consumption {
    /// Adds so many items that were consumed at a time, after they had waited so long.
    pub fn add(&mut self, at: Timestamp, millis: u64, items: u64) {
        if self.latest.is_none_or(|latest| latest.at <= at) {
            self.latest = Some(Latest { at, waited_ms: millis });
        }
        self.sum_ms = self.sum_ms.saturating_add(millis.saturating_mul(items));
        *self.buckets.entry(bucket_of(millis)).or_default() += items;
    }

    /// Adds others; the last one is the later one of both.
    pub fn merge(&mut self, others: &Self) {
        self.latest = self.latest.max(others.latest);
        self.sum_ms = self.sum_ms.saturating_add(others.sum_ms);
        for (bucket, items) in &others.buckets {
            *self.buckets.entry(*bucket).or_default() += items;
        }
    }

    /// What was added since `earlier`; everything, where it is less than that: somebody began anew.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let is_later = self.sum_ms >= earlier.sum_ms
            && earlier
                .buckets
                .iter()
                .all(|(bucket, items)| self.buckets.get(bucket) >= Some(items));
        if !is_later {
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

    /// How long the last one waited, in milliseconds.
    #[must_use]
    pub fn latest_ms(&self) -> Option<u64> {
        self.latest.map(|latest| latest.waited_ms)
    }

    /// How many items there are.
    #[must_use]
    pub fn items(&self) -> u64 {
        self.buckets.values().sum()
    }

    /// The average, in milliseconds, to a tenth; none where there is nothing.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "it is told to a tenth")]
    pub fn average_ms(&self) -> Option<f64> {
        let items = self.items();
        (items > 0).then(|| tenths(self.sum_ms as f64 / items as f64))
    }

    /// The time, in milliseconds, that this part of all items did not exceed, true to a sixteenth.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank among items, which are far fewer than a double counts"
    )]
    pub fn quantile_ms(&self, part: f64) -> Option<f64> {
        let rank = (self.items() as f64 * part).ceil().max(1.0) as u64;
        let mut seen = 0;
        let found = self.buckets.iter().find(|(_, items)| {
            seen += **items;
            seen >= rank
        });
        found.map(|(bucket, _)| tenths(middle_of(*bucket)))
    }
}

/// Rounds to a tenth.
#[must_use]
pub fn tenths(number: f64) -> f64 {
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
        fn a_bucket_is_true_to_a_sixteenth(millis in 0_u64..1 << 40) {
            let middle = middle_of(bucket_of(millis));
            #[expect(clippy::cast_precision_loss, reason = "below 2^40")]
            let truth = millis as f64;
            prop_assert!((middle - truth).abs() <= truth / 16.0, "{millis} {middle}");
            prop_assert!(bucket_of(millis) <= bucket_of(millis + 1));
        }
    }

    #[test]
    fn averages_and_quantiles_are_of_what_was_added() {
        let mut all = Consumption::default();
        assert_eq!((all.average_ms(), all.quantile_ms(0.5), all.latest), (None, None, None));
        all.add(NOW, 1_000, 10);
        all.add(NOW, 2, 90);
        assert_eq!((all.items(), all.latest_ms(), all.average_ms()), (100, Some(2), Some(101.8)));
        assert_eq!((all.quantile_ms(0.5), all.quantile_ms(0.9)), (Some(2.0), Some(2.0)));
        assert!(all.quantile_ms(0.99).is_some_and(|p99| (940.0..=1_060.0).contains(&p99)));
    }

    #[test]
    fn a_difference_is_what_came_between() {
        let mut all = Consumption::default();
        all.add(NOW, 5, 3);
        let before = all.clone();
        assert_eq!(all.since(&before), Consumption::default());
        all.add(LATER, 7, 1);
        let since = all.since(&before);
        assert_eq!((since.items(), since.sum_ms, since.latest_ms()), (1, 7, Some(7)));
        // Redis was emptied in between.
        let mut anew = Consumption::default();
        anew.add(LATER, 1, 1);
        assert_eq!(anew.since(&all), anew);
    }

    #[test]
    fn of_two_the_last_one_is_the_later_one() {
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
