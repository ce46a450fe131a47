//! Searches for the highest passing rate: in large steps until one fails, then by bisection.

/// The first rate of a search without a previous result, in messages per second, and the growth
/// factor of its large steps.
const INITIAL: (f64, f64) = (128.0, 4.0);
/// The first rate relative to a previous result, and the growth factor.
const REFINE: (f64, f64) = (0.85, 1.4);
/// The lowest and highest rate that a search tries.
const BOUNDS: (f64, f64) = (1.0, 200_000.0);

/// The state of a search. All rates are in messages per second.
#[derive(Debug)]
pub struct Search {
    first: f64,
    factor: f64,
    /// The precision, as a factor.
    precision: f64,
    passed: Option<f64>,
    failed: Option<f64>,
}

impl Search {
    /// Starts a search, near the previous result if there is one.
    pub fn new(previous: Option<f64>, precision: f64) -> Self {
        let (first, factor) = previous.map_or(INITIAL, |rate| (rate * REFINE.0, REFINE.1));
        Self { first, factor, precision, passed: None, failed: None }
    }

    /// Returns the next rate to try, or `None` when the search is finished.
    pub fn next(&self) -> Option<f64> {
        let next = match (self.passed, self.failed) {
            (None, None) => self.first,
            (Some(passed), None) => passed * self.factor,
            (None, Some(failed)) => failed / self.factor,
            (Some(passed), Some(failed)) if failed / passed <= self.precision => return None,
            (Some(passed), Some(failed)) => (passed * failed).sqrt(),
        };
        (BOUNDS.0..=BOUNDS.1).contains(&next).then_some(next)
    }

    /// Records whether a rate passed.
    pub fn record(&mut self, rate: f64, passed: bool) {
        let bound = if passed { &mut self.passed } else { &mut self.failed };
        *bound = Some(rate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(limit: f64, previous: Option<f64>) -> (Option<f64>, usize) {
        let (mut search, mut steps) = (Search::new(previous, 1.1), 0);
        while let Some(rate) = search.next() {
            search.record(rate, rate <= limit);
            steps += 1;
        }
        (search.passed, steps)
    }

    #[test]
    fn search_finds_any_limit_within_its_precision_in_ten_steps() {
        for limit in [3.0, 127.0, 128.0, 900.0, 20_000.0] {
            let (found, steps) = find(limit, None);
            let found = found.expect("a rate passes");
            assert!(found <= limit && limit < found * 1.1, "{found} for {limit}");
            assert!(steps <= 10, "{steps} for {limit}");
        }
    }

    #[test]
    fn search_is_faster_near_the_previous_result() {
        let (found, steps) = find(900.0, Some(850.0));
        assert!(found.is_some_and(|found| (820.0..=900.0).contains(&found)) && steps <= 4);
        let (found, steps) = find(300.0, Some(850.0));
        assert!(found.is_some_and(|found| (270.0..=300.0).contains(&found)) && steps <= 6);
    }

    #[test]
    fn search_finds_nothing_if_every_rate_fails() {
        assert_eq!(find(0.5, None).0, None);
    }

    #[test]
    fn search_ends_if_every_rate_passes() {
        assert!(find(f64::INFINITY, None).0.is_some_and(|found| found <= BOUNDS.1));
    }
}
