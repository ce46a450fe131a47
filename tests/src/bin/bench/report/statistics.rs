//! Median, percentile and rate.

use std::time::Duration;

/// Returns the median, or NaN without numbers.
pub fn median(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = numbers.into_iter().collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// Returns a percentile of sorted latencies in microseconds.
pub fn percentile(sorted_us: &[u32], percent: usize) -> Duration {
    let index = (sorted_us.len() * percent / 100).min(sorted_us.len().saturating_sub(1));
    Duration::from_micros(sorted_us.get(index).copied().unwrap_or(0).into())
}

/// Returns the events per second.
pub fn rate(count: u64, elapsed: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "below 2^52")]
    let count = count as f64;
    count / elapsed.as_secs_f64()
}

/// Divides numbers by those of a baseline, pair by pair.
pub fn ratios(numbers: &[f64], baseline: &[f64]) -> Vec<f64> {
    numbers.iter().zip(baseline).map(|(number, baseline)| number / baseline).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle_or_the_mean_of_the_middle_two() {
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median([4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median([]).is_nan());
    }

    #[test]
    fn percentile_is_one_of_the_latencies() {
        let latencies: Vec<u32> = (1..=100).collect();
        assert_eq!(percentile(&latencies, 50), Duration::from_micros(51));
        assert_eq!(percentile(&latencies, 99), Duration::from_micros(100));
        assert_eq!(percentile(&[], 99), Duration::ZERO);
    }
}
